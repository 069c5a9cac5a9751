"""What a service counts and measures, for Prometheus; units are in the names.

`deploy/observability` has a dashboard and alert rules of these. What belongs to a database rather than to a process
(outbox, tasks) is told alike by every process of the service: take the `max`, not the `sum`.
"""

from prometheus_client import Counter, Gauge, Histogram

# Taking in
MESSAGES = Counter("kello_decided_messages_total", "Messages that had their effect", ["service"])
DUPLICATES = Counter("kello_duplicate_records_total", "Records that came again and had no second effect", ["service"])
DEAD_LETTERS = Counter("kello_dead_letters_total", "Dead letters written, by kind", ["service", "kind"])
VERSION_GAPS = Counter(
    "kello_version_gaps_total",
    "Events about what we have a copy of whose version was not the next one; a batch that is run again counts twice",
    ["service", "type"],
)
BATCH_SECONDS = Histogram(
    "kello_batch_seconds",
    "From taking a batch to its commit, retries and waiting for an outage included",
    ["service"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
BATCH_RECORDS = Histogram(
    "kello_batch_records", "Records in a batch", ["service"], buckets=(1, 3, 10, 30, 100, 300, 1000, 3000)
)
FENCED = Counter("kello_fenced_partitions_total", "Partitions that somebody else claimed meanwhile", ["service"])
STOPPED = Gauge("kello_stopped_partitions", "Partitions that wait for `kello resume`", ["service"])
LAG_RECORDS = Gauge(
    "kello_lag_records",
    "Records that have not had their effect yet, of partitions that this process works on",
    ["service", "topic", "partition"],
)
LAG_SECONDS = Gauge(
    "kello_lag_seconds", "How late the next record will be at most, by partition", ["service", "topic", "partition"]
)

# Publishing
PUBLISHED = Counter("kello_published_records_total", "Records that Kafka acknowledged", ["service"])
RELAY_FAILURES = Counter("kello_relay_failures_total", "Times that the relay had to begin anew", ["service"])
RELAY_HOLDS = Gauge("kello_relay_holds", "1 where this process is the relay of its database", ["service"])
OUTBOX_ROWS = Gauge("kello_outbox_rows", "Rows that wait to be published, counted up to a bound", ["service"])
OUTBOX_AGE_SECONDS = Gauge(
    "kello_outbox_age_seconds", "Age of the oldest row that waits and is not blocked", ["service"]
)
OUTBOX_BLOCKED_ROWS = Gauge(
    "kello_outbox_blocked_rows", "Rows that Kafka will never take; their keys wait behind them", ["service"]
)

# Tasks
TASKS = Gauge(
    "kello_tasks", "Tasks by kind and state: later, due, started, unknown, asking", ["service", "kind", "state"]
)
TASK_LATE_SECONDS = Gauge("kello_task_late_seconds", "How long the longest due task has been due", ["service", "kind"])
TASK_CALL_SECONDS = Histogram(
    "kello_task_call_seconds",
    "Calls to the outside: performed or asked about, by how they ended",
    ["service", "kind", "act", "end"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

# The world, and what is said of it
ANSWERS = Gauge("kello_answers", "1 where what the service stands on answered when last asked", ["service", "by"])
LOG_LINES = Counter(
    "kello_log_lines_total", "Lines logged, those left out included, by event or library", ["service", "level", "event"]
)

BUGS = ("decision_failed", "load_or_save_failed", "task_failed", "task_unreadable")
"""Events of the log that only a bug of ours leads to."""


def begin(service: str) -> None:
    """What counts from zero is there from the start: Prometheus sees no increase in what was not there before."""
    for kind in ("poison", "refused", "bug"):
        DEAD_LETTERS.labels(service, kind)
    for event in BUGS:
        LOG_LINES.labels(service, "error", event)
    for counter in (MESSAGES, DUPLICATES, FENCED, PUBLISHED, RELAY_FAILURES):
        counter.labels(service)
    for histogram in (BATCH_SECONDS, BATCH_RECORDS):
        histogram.labels(service)
    for gauge in (STOPPED, RELAY_HOLDS):
        gauge.labels(service)
