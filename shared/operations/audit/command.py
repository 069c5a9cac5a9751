"""`kello audit`."""

from typing import Annotated, Any

import typer
from rich.text import Text

from shared.operations import output
from shared.operations.audit.audit import Report, audit
from shared.operations.audit.checks import Finding
from shared.operations.installation import installation
from shared.operations.output import Json

Services = Annotated[
    list[str] | None, typer.Argument(metavar="[SERVICE]…", help="Only these services.", show_default=False)
]
AtRest = Annotated[
    bool, typer.Option("--at-rest", help="Ask also what holds only when there is nothing left to do: no lag, no task.")
]


def audit_command(services: Services = None, at_rest: AtRest = False, as_json: Json = False) -> None:
    """Check every promise that the databases and Kafka can be asked about, while the system runs.

    Every service is seen at one snapshot and compared with exactly the records that belong to it, so traffic is no
    excuse: what is named is broken. Reads everything that the topics hold. Exit code 1 where a promise does not hold.

    kello audit billing
    """
    report = output.run(audit(installation(), services or (), at_rest=at_rest))
    rows = [(each.service, _mark(each), each.promise, _offending(each)) for each in report.findings]
    held = len(report.findings) - len(report.broken)
    output.answer(
        document_of(report),
        output.table("service", "", "promise", "broken by", rows=rows),
        f"{held} of {len(report.findings)} promises hold, by {sum(report.heard.values()):,} messages that were heard "
        f"and {sum(report.said.values()):,} that were said",
        as_json=as_json,
    )
    if report.broken:
        raise typer.Exit(output.NO)


def document_of(report: Report) -> dict[str, Any]:
    """What `--json` shows."""
    return {
        "holds": not report.broken,
        "as_of": report.as_of,
        "heard": report.heard,
        "said": report.said,
        "findings": [
            {
                "service": each.service,
                "name": each.name,
                "promise": each.promise,
                "holds": each.holds,
                "offending": list(each.offending),
                "more": each.more,
            }
            for each in report.findings
        ],
    }


def _mark(finding: Finding) -> Text:
    return Text("holds", "green") if finding.holds else Text("BROKEN", "red")


def _offending(finding: Finding) -> str:
    more = [f"and {finding.more} more"] if finding.more else []
    return "; ".join([*finding.offending, *more])
