"""Images of Kafka and PostgreSQL from packages alone, for an engine that cannot pull apache/kafka and postgres.

    make images

builds kello-local/kafka and kello-local/postgres from what the embedded servers are made of: Kafka's jars, a Java
runtime and PostgreSQL's binaries, on Debian, which is pulled or, where that cannot be, bootstrapped (as root, with
debootstrap). They take the environment that the official ones take.
"""
