"""The register of a run as CSV (RFC 4180): a line per payslip, then the departments and the total.

The same payslips give the same bytes.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import TypeAlias
from uuid import UUID

from services.payroll.domain.payslip import ComponentKind, Payslip
from services.payroll.domain.run import Run, Skipped
from shared.schemas.immutable import immutable
from shared.schemas.money import decimal_text
from shared.schemas.payroll import PayrollReportGenerated

MEDIA_TYPE = "text/csv; charset=utf-8"

ComponentCode: TypeAlias = tuple[ComponentKind, str]
KINDS: Sequence[ComponentKind] = ("earning", "withholding", "deduction")
WORDS = ("record", "run_id", "period", "currency", "department", "employee_id", "payslip_id", "state")
SUMS = ("gross", "withholdings", "deductions", "net", "paid")
PAYMENT = ("payment_reference", "paid_on", "reason")


@immutable(frozen=True, slots=True)
class Register:
    """What a report is made of: a run's payslips, the sums of their components, and who has none."""

    payslips: Sequence[Payslip]
    components: Mapping[UUID, Mapping[ComponentCode, int]]
    skipped: Sequence[Skipped]

    @property
    def paid_by_department(self) -> dict[str, int]:
        """Minor units."""
        paid: defaultdict[str, int] = defaultdict(int)
        for payslip in self.payslips:
            if payslip.state == "paid":
                paid[payslip.department] += payslip.net
        return paid


@immutable(frozen=True, slots=True)
class Report:
    """A stored report. It never changes; a run that is opened again gets another one."""

    id: UUID
    run_id: UUID
    media_type: str
    content: bytes
    sha256: str
    rows: int
    generated_at: datetime

    @property
    def key(self) -> UUID:
        return self.id

    @property
    def root(self) -> UUID:
        return self.run_id


def generated(report_id: UUID, run: Run, register: Register, at: datetime) -> tuple[Report, PayrollReportGenerated]:
    """The report of a completed run."""
    content = register_csv(run, register)
    report = Report(
        id=report_id,
        run_id=run.id,
        media_type=MEDIA_TYPE,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        rows=len(register.payslips),
        generated_at=at,
    )
    return report, PayrollReportGenerated(
        run_id=run.id,
        report_id=report.id,
        media_type=report.media_type,
        sha256=report.sha256,
        rows=report.rows,
        version=1,
    )


def register_csv(run: Run, register: Register) -> bytes:
    """Amounts in major units. One column per component that occurs, in the order of a payslip."""
    codes = sorted(
        {code for sums in register.components.values() for code in sums},
        key=lambda code: (KINDS.index(code[0]), code[1]),
    )
    text = StringIO()
    lines = csv.writer(text)
    lines.writerow([*WORDS, *(f"{kind}:{code}" for kind, code in codes), *SUMS, *PAYMENT])
    payslips = sorted(register.payslips, key=lambda each: (each.department, each.employee_id))
    lines.writerows(_payslip_line(run, each, register, codes) for each in payslips)
    lines.writerows(_department_lines(run, payslips, register, codes))
    lines.writerow(_sum_line(_words(run, "total", ""), run, payslips, register, codes))
    skipped = sorted(register.skipped, key=lambda each: each.employee_id)
    lines.writerows(_skipped_line(run, each, len(codes)) for each in skipped)
    return text.getvalue().encode()


def _payslip_line(run: Run, payslip: Payslip, register: Register, codes: Sequence[ComponentCode]) -> list[str]:
    return [
        *_words(run, "payslip", payslip.department),
        str(payslip.employee_id),
        str(payslip.id),
        payslip.state,
        *_amounts(run, [payslip], register, codes),
        payslip.payment_reference or "",
        payslip.paid_on.isoformat() if payslip.paid_on else "",
        payslip.failure_code or "",
    ]


def _department_lines(
    run: Run, payslips: Iterable[Payslip], register: Register, codes: Sequence[ComponentCode]
) -> Iterator[list[str]]:
    by_department: defaultdict[str, list[Payslip]] = defaultdict(list)
    for payslip in payslips:
        by_department[payslip.department].append(payslip)
    for department, theirs in by_department.items():
        yield _sum_line(_words(run, "department", department), run, theirs, register, codes)


def _sum_line(
    words: list[str], run: Run, payslips: Sequence[Payslip], register: Register, codes: Sequence[ComponentCode]
) -> list[str]:
    return [*words, "", "", "", *_amounts(run, payslips, register, codes), *("" for _ in PAYMENT)]


def _skipped_line(run: Run, skipped: Skipped, codes: int) -> list[str]:
    ids = [str(skipped.employee_id), str(skipped.payslip_id or "")]
    return [*_words(run, "skipped", ""), *ids, "", *("" for _ in range(codes + len(SUMS))), "", "", skipped.code]


def _words(run: Run, record: str, department: str) -> list[str]:
    return [record, str(run.id), str(run.month), run.currency, department]


def _amounts(run: Run, payslips: Sequence[Payslip], register: Register, codes: Sequence[ComponentCode]) -> list[str]:
    components = [sum(register.components.get(each.id, {}).get(code, 0) for each in payslips) for code in codes]
    sums = [
        sum(each.gross for each in payslips),
        sum(each.withholdings for each in payslips),
        sum(each.deductions for each in payslips),
        sum(each.net for each in payslips),
        sum(each.net for each in payslips if each.state == "paid"),
    ]
    return [decimal_text(amount, run.currency) for amount in (*components, *sums)]
