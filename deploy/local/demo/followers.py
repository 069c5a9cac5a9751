"""Those who react to what Kello says: the customers' banks, the payroll office, and HR with one corrected account."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from deploy.local.demo.customers import Plan
from deploy.local.demo.message import Message, message
from deploy.local.demo.producer import Producer
from deploy.local.demo.script import Script
from deploy.local.demo.staff import APPROVER, PAYROLL_OFFICE, STARTER, Run
from deploy.local.demo.world import Watch
from shared.schemas import registry
from shared.schemas.base import Payload
from shared.schemas.billing import CollectPayment, InvoiceIssued, PaymentFailed, RecordPayment
from shared.schemas.money import share_of
from shared.schemas.payroll import (
    ApprovePayrollRun,
    PayrollRunCalculated,
    PayrollRunCompleted,
    RetryPayslip,
    SalaryPaid,
    SalaryPaymentFailed,
    StartPayrollRun,
)

BANK, SHOP = "example/bank", "example/shop"
TOPICS = ("billing.events", "payroll.events")
POLL_MS = 200


class Followers:
    """Reads what Kello says from the beginning and answers each event once, as the script's plans say."""

    def __init__(self, script: Script, producer: Producer, watch: Watch) -> None:
        self._script = script
        self._producer = producer
        self._watch = watch
        self._heard: set[str] = set()
        self._to_say: list[Message] = []
        self._to_retry: list[SalaryPaymentFailed] = []
        self._plans: dict[UUID, Plan] = {}
        self._waiting_runs = list(script.runs)
        self._open_runs: set[UUID] = set()
        self._mended: set[UUID] = set()
        self._corrected = False
        self._read = 0
        self._reactions: Mapping[type[Payload], Callable[[Any], None]] = {
            InvoiceIssued: self._pay,
            PaymentFailed: self._try_another_card,
            PayrollRunCalculated: self._approve,
            PayrollRunCompleted: self._go_on_with_the_next,
            SalaryPaymentFailed: self._mend,
            SalaryPaid: self._is_mended,
        }

    async def open_work(self) -> list[str]:
        """What they have not heard yet, and what they still wait for."""
        behind = sum((await self._watch.ends(TOPICS)).values()) - self._read
        heard = [f"{behind} events unheard"] if behind > 0 else []
        runs = [f"payroll run {run.period} {run.currency}" for run in self._script.runs if self._is_open(run)]
        return heard + runs + [f"payslip {payslip_id}" for payslip_id in self._mended]

    async def follow(self) -> None:
        """Until cancelled."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._watch.world.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([place for topic in TOPICS for place in self._watch.places[topic]])
            while True:
                batch = [each for some in (await consumer.getmany(timeout_ms=POLL_MS)).values() for each in some]
                for record in batch:
                    self._hear(dict(record.headers), record.value)
                await self._speak()
                self._read += len(batch)
        finally:
            await consumer.stop()

    async def start_payroll(self) -> None:
        """The runs of the first month, once payroll has heard all that HR said."""
        await self._watch.caught_up("payroll", ["hr.events"])
        self._start_next_month()
        await self._speak()

    def _is_open(self, run: Run) -> bool:
        return run in self._waiting_runs or run.run_id in self._open_runs

    def _hear(self, headers: dict[str, bytes], value: bytes) -> None:
        """Each event once, however often it stands on the topic."""
        id_ = headers["ce_id"].decode()
        reaction = self._reactions.get(registry.model_of(headers["ce_type"].decode()))
        if reaction is not None and id_ not in self._heard:
            self._heard.add(id_)
            reaction(registry.parse(headers["ce_type"].decode(), value))

    def _pay(self, invoice: InvoiceIssued) -> None:
        """By transfer: whole, partly, too much, in parts, or not at all."""
        plan = self._script.plans.get(UUID(invoice.cause.id))
        if plan is None:
            return
        self._plans[invoice.invoice_id] = plan
        for transfer in plan.transfers:
            payment = RecordPayment(
                customer_id=invoice.customer_id,
                issued_by="bank",
                payment_id=transfer.payment_id,
                currency=invoice.currency,
                amount=max(1, share_of(invoice.total, transfer.percent, 100)),
                received_on=min(invoice.issued_on + timedelta(days=transfer.days), datetime.now(UTC).date()),
                reference=invoice.number,
                invoice_id=invoice.invoice_id if transfer.percent == 100 else None,
            )
            self._say(payment, BANK, transfer.payment_id)

    def _try_another_card(self, failed: PaymentFailed) -> None:
        plan = self._plans.get(failed.invoice_id)
        if plan is None or plan.card_later is None or plan.card_later == failed.payment_id:
            return
        collect = CollectPayment(
            customer_id=failed.customer_id,
            issued_by="shop",
            payment_id=plan.card_later,
            invoice_id=failed.invoice_id,
            payment_token=f"tok_ok-{plan.card_later.hex[-6:]}",
        )
        self._say(collect, SHOP, plan.card_later)

    def _start_next_month(self) -> None:
        """All runs of one period at a time."""
        period = self._waiting_runs[0].period
        for run in [run for run in self._waiting_runs if run.period == period]:
            self._waiting_runs.remove(run)
            self._open_runs.add(run.run_id)
            self._say(_started(run), PAYROLL_OFFICE, run.run_id)

    def _approve(self, run: PayrollRunCalculated) -> None:
        """First by whoever started it, which must be refused; then by somebody else."""
        for who in (STARTER, APPROVER):
            self._say(ApprovePayrollRun(run_id=run.run_id, issued_by=who), PAYROLL_OFFICE, run.run_id, who)

    def _go_on_with_the_next(self, run: PayrollRunCompleted) -> None:
        self._open_runs.discard(run.run_id)
        if not self._open_runs and self._waiting_runs:
            self._start_next_month()

    def _mend(self, failed: SalaryPaymentFailed) -> None:
        """HR corrects the account; then the office tries again."""
        mending = self._script.mending
        if mending is None or failed.employee_id != mending.employee_id:
            return
        self._mended.add(failed.payslip_id)
        self._to_retry.append(failed)
        if not self._corrected:
            self._to_say.append(mending.correction)
            self._corrected = True

    def _is_mended(self, paid: SalaryPaid) -> None:
        self._mended.discard(paid.payslip_id)

    def _retry(self, failed: SalaryPaymentFailed) -> None:
        retry = RetryPayslip(
            payslip_id=failed.payslip_id,
            employee_id=failed.employee_id,
            run_id=failed.run_id,
            issued_by=STARTER,
        )
        self._say(retry, PAYROLL_OFFICE, failed.payslip_id, str(failed.version))

    def _say(self, command: Payload, source: str, about: UUID, *more: str) -> None:
        """Dated now, with an id that follows from what it is about."""
        rng = Random(f"{self._script.seed}/{command.ce_type}/{about}/{more}")  # noqa: S311 - repeatable, not secret
        self._to_say.append(message(command, datetime.now(UTC), source, rng))

    async def _speak(self) -> None:
        """Publishes what is to be said, a tenth of it twice. A retry waits until payroll knows the new account."""
        await self._publish()
        if self._to_retry:
            await self._watch.caught_up("payroll", ["hr.events"])
            retries, self._to_retry = self._to_retry, []
            for failed in retries:
                self._retry(failed)
            await self._publish()

    async def _publish(self) -> None:
        said, self._to_say = self._to_say, []
        await self._producer.publish(said, [each for each in said if UUID(each.id).int % 10 == 0])


def _started(run: Run) -> StartPayrollRun:
    return StartPayrollRun(run_id=run.run_id, issued_by=STARTER, period=run.period, currency=run.currency)
