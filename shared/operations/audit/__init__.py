"""`kello audit`: every promise that the databases and Kafka can be asked about, while the system runs.

How a moving system is compared: each service's database is seen through one snapshot (REPEATABLE READ, read only), and
is compared with the log alone, never with another database at another moment. The snapshot itself says which records
it has to do with, because the kit keeps both ends of it in the transactions of the effects:

- what it *heard* is, of each partition, what lies below its row in `consumer_offset`: the offset moves in the
  transaction of the effects, so exactly these records have had theirs;
- what it *said* is, of each partition of its own topics, what lies up to its row in `relay_position`, and the rows of
  its outbox: a row leaves the outbox in the statement that notes the offset under which Kafka has it.

So a copy must be what was heard, and what was said must be what is there, exactly and at any moment: nothing is looked
at twice, and nothing is tolerated because of traffic. Where both hold, reader and owner agree wherever the reader has
caught up. The services' snapshots need not be of one moment.

Kafka is read in a stream into temporary tables of the audited databases, mostly before the snapshots are taken, so
that those live no longer than the last records and the checks take; what it takes in memory is bounded, on disk it is
about what the topics hold without texts. SQL compares. A topic whose beginning was deleted by retention is asked about
what it still holds, and proves no absence.

Nothing is asked of the world outside (what the gateway captured, which mails arrived) nor of processes (memory,
sessions): that is for whoever can see them.

    records, tables.sql   records as rows of temporary tables, and what of them is compared
    cut, view             the log, and one service's snapshot beside the part of it that belongs to that
    checks                a promise, the SELECT that finds what breaks it, and what came of asking
    messages, answers     what holds of messages, whatever they say
    billing, customer, notify, payroll   what holds of each service's own
    audit, command        everything of every service, and the command itself
"""
