"""PurchaseRecorded → InvoiceIssued as fast as it goes: every contender in turn, round after round."""

from tests.bench.arrivals import Incomplete
from tests.bench.contest import CONTENDERS, Contender, WrongOutput
from tests.bench.race import Run, run
from tests.bench.report import Figure, Goal, ratio, unmeasured
from tests.bench.stage import Stage

ROUNDS = 3
CUSTOMERS = 10_000
UNIT = "events/s"
GOALS = {"Kello, one process": Goal(10_000), "Kello, two processes": Goal(15_000)}
RATIOS = (
    ("Kello : naive FastStream", "FastStream, naive", Goal(30)),
    ("Kello : best effectively-once peer", "faststream-outbox and an inbox, batched", Goal(8)),
    ("Kello : the limit", "the limit", Goal(0.5)),
    ("Kello : faust-streaming", "faust-streaming", Goal(1)),
    ("Kello : quixstreams", "quixstreams", Goal(1)),
)


def measure(stage: Stage) -> list[Figure]:
    """Throughput of each contender, the ratios, CPU per event and memory."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in CONTENDERS}
    failures: dict[str, str] = {}
    for n in range(2 if stage.quick else ROUNDS):
        for contender in CONTENDERS:
            stage.say(f"Throughput, round {n + 1}: {contender.name}")
            _attempt(stage, contender, runs[contender.name], failures)
    figures = [_throughput(contender, runs[contender.name], failures) for contender in CONTENDERS]
    kello = _speeds(runs["Kello, one process"])
    figures += [
        ratio(name, kello, _speeds(runs[theirs]), goal)
        if runs[theirs]
        else unmeasured(name, "x", failures.get(theirs, ""), goal)
        for name, theirs, goal in RATIOS
    ]
    return figures + [figure for contender in CONTENDERS for figure in _uses(contender, runs[contender.name])]


def bars(figures: list[Figure]) -> list[Figure]:
    """The throughput of each contender, for the chart."""
    names = {contender.name for contender in CONTENDERS}
    return [figure for figure in figures if figure.name in names]


def records_of(stage: Stage, contender: Contender) -> int:
    """How many purchases a contender is given in a run."""
    return max(int((12_000 if stage.quick else 100_000) * contender.share), 400)


def _attempt(stage: Stage, contender: Contender, runs: list[Run], failures: dict[str, str]) -> None:
    if why := contender.missing():
        failures[contender.name] = why
        return
    if contender.name in failures:
        return
    try:
        runs.append(run(stage, contender, records_of(stage, contender), CUSTOMERS))
    except (WrongOutput, Incomplete, RuntimeError) as error:
        failures[contender.name] = f"{type(error).__name__}: {error}"
        stage.say(failures[contender.name])


def _throughput(contender: Contender, runs: list[Run], failures: dict[str, str]) -> Figure:
    goal = GOALS.get(contender.name)
    if not runs or contender.name in failures:
        return unmeasured(contender.name, UNIT, failures.get(contender.name, ""), goal)
    return Figure(contender.name, UNIT, _speeds(runs), goal, contender.guarantee)


def _speeds(runs: list[Run]) -> tuple[float, ...]:
    return tuple(each.per_second for each in runs)


def _uses(contender: Contender, runs: list[Run]) -> list[Figure]:
    if not runs:
        return []
    parts = ("its processes", "PostgreSQL", "Kafka")
    cpu = [each.cpu_microseconds for each in runs]
    goal = Goal(150, at_least=False) if contender.name.startswith("Kello") else None
    return [
        Figure(f"{contender.name}: CPU of {part}", "µs/event", tuple(each[n] for each in cpu))
        for n, part in enumerate(parts)
    ] + [Figure(f"{contender.name}: memory", "MiB", tuple(max(each.resident_mib) for each in runs), goal)]
