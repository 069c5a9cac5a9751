"""What a service counts and measures, for Prometheus; units are in the names."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("kello_messages_decided_total", "Messages that had their effect", ["service"])
DUPLICATES = Counter("kello_duplicates_total", "Records that were seen before and had no second effect", ["service"])
DEAD_LETTERS = Counter("kello_dead_letters_total", "Dead letters written, by kind", ["service", "kind"])
BATCH_SECONDS = Histogram("kello_batch_seconds", "From taking a batch to its commit", ["service"])
BATCH_RECORDS = Histogram(
    "kello_batch_records", "Records in a batch", ["service"], buckets=(1, 3, 10, 30, 100, 300, 1000, 3000)
)
FENCED = Counter("kello_partitions_fenced_total", "Partitions that somebody else claimed meanwhile", ["service"])
LAG_RECORDS = Gauge("kello_lag_records", "Records not yet taken, by partition", ["service", "topic", "partition"])
STOPPED = Gauge("kello_partitions_stopped", "Partitions that wait for `kello resume`", ["service"])
PUBLISHED = Counter("kello_published_total", "Records that Kafka acknowledged", ["service"])
RELAY_FAILURES = Counter("kello_relay_failures_total", "Times that the relay had to begin anew", ["service"])
OUTBOX_ROWS = Gauge("kello_outbox_rows", "Rows that wait to be published", ["service"])
OUTBOX_AGE_SECONDS = Gauge("kello_outbox_age_seconds", "Age of the oldest row that waits", ["service"])
TASK_CALLS = Counter("kello_task_calls_total", "Calls to the outside", ["kind", "act"])
TASKS = Gauge("kello_tasks", "Tasks by kind and state", ["service", "kind", "state"])
