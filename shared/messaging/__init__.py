"""The kit: how a service reads, decides, saves, publishes and calls the outside, each effectively once.

A service author meets `decision` (what a decision gets and returns), `working_set` (what load returns and save
writes), `handlers` (which message leads to which decision), `tasks` (side effects and timers) and `service` (the
shell that runs it all), `projections` (what is a copy of others' data). The rest is the machinery: `consumer`, `slots`,
`unit`, `offsets`, `inbox`, `outbox`, `relay`; and, for operators, `replay` of dead letters, `rebuild` of projections,
and `retold`: how a task ended, for a database that came back from a backup.
"""
