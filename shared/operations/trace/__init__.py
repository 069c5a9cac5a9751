"""`kello trace ID`: what happened to somebody or something, through all services, by what caused it.

The id is a correlation id, a customer, an employee or a run (the key of their records), or the id of one event or thing
(an invoice, a payment, a ticket): of these two the whole story is told that they are part of.

Kafka is read once, and once more where the story turns out to be known under other correlation ids, or where causes
have keys of their own; only what belongs to the story is kept. What is not published yet and what is still to be done
comes from outboxes and tasks.

    facts     one line of a story, from a record, an outbox row or a task
    search    what belongs to a story
    tree      its lines, by causation
    command   the command itself
"""
