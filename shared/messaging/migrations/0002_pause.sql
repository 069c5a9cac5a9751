-- A consumer group that takes nothing in until an operator resumes it.
CREATE TABLE messaging.consumer_pause (
    consumer_group text PRIMARY KEY,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
