"""The embedded stack: a real Apache Kafka and a real PostgreSQL as child processes, no Docker needed.

`stack` finds or starts the servers, `topics` and `databases` fill them, `services` runs Kello's four processes on
them. Every child is guarded (`processes`): it dies with its parent, however the parent dies.
"""
