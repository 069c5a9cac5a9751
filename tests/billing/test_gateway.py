"""What billing makes of the gateway's answers, one by one, on the sandbox itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from deploy.local.sandboxes import Behaviour
from deploy.local.sandboxes.gateway import Gateway as Sandbox
from deploy.local.sandboxes.gateway import open_gateway
from services.billing.domain.payment import Captured, CapturePayment, Declined
from services.billing.effects import Gateway
from shared.messaging.tasks import NOT_DONE, Later, TaskCall, Uncertain

CALL = TaskCall("capture-payment", "payment-1", 1, "billing:capture-payment:payment-1")


def asked(token: str, amount: int = 1200) -> CapturePayment:
    return CapturePayment(
        payment_id=uuid4(),
        customer_id=uuid4(),
        invoice_id=uuid4(),
        amount=amount,
        currency="EUR",
        token=token,
        reference="KELLO-2026-0-000001",
    )


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with open_gateway(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def gateway(sandbox: Sandbox) -> AsyncIterator[Gateway]:
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=5) as client:
        yield Gateway(client)


async def test_a_capture_is_told_with_the_gateways_own_name_for_it(gateway: Gateway, sandbox: Sandbox) -> None:
    captured = await gateway.capture(asked("tok_ok"), CALL)
    [capture] = sandbox.captures()
    assert captured == Captured(capture.id)
    assert await gateway.outcome(asked("tok_ok"), CALL) == captured
    assert await gateway.capture(asked("tok_ok"), CALL) == captured, "the same key, the same capture"
    assert len(sandbox.captures()) == 1


@pytest.mark.parametrize(
    ("token", "amount", "code"), [("tok_expired_card", 1200, "expired_card"), ("tok_ok", 0, "invalid_request")]
)
async def test_a_refusal_is_told_with_its_code(gateway: Gateway, token: str, amount: int, code: str) -> None:
    assert await gateway.capture(asked(token, amount), CALL) == Declined(code)


@pytest.mark.parametrize("token", ["tok_down", "tok_throttled"])
async def test_who_says_later_did_nothing(gateway: Gateway, token: str) -> None:
    with pytest.raises(Later):
        await gateway.capture(asked(token), CALL)
    assert await gateway.outcome(asked(token), CALL) is NOT_DONE


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1", timeout=5) as client:
        with pytest.raises(Later):
            await Gateway(client).capture(asked("tok_ok"), CALL)
        with pytest.raises(Later):
            await Gateway(client).outcome(asked("tok_ok"), CALL)


@pytest.mark.parametrize("token", ["tok_lost_reply", "tok_lost_request", "tok_pending", "tok_unknown"])
async def test_whatever_is_no_clear_answer_is_uncertain(gateway: Gateway, token: str) -> None:
    with pytest.raises(Uncertain):
        await gateway.capture(asked(token), CALL)


async def test_a_slow_answer_is_uncertain(sandbox: Sandbox) -> None:
    sandbox.script(Behaviour(delay_seconds=60), token="tok_ok")
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=httpx.Timeout(5, read=0.05)) as client:
        with pytest.raises(Uncertain):
            await Gateway(client).capture(asked("tok_ok"), CALL)
        with pytest.raises(Later):
            await Gateway(client).outcome(asked("tok_ok"), CALL)


async def test_a_key_that_was_used_for_something_else_is_asked_about(gateway: Gateway) -> None:
    await gateway.capture(asked("tok_ok"), CALL)
    with pytest.raises(Uncertain):
        await gateway.capture(asked("tok_ok", amount=1), CALL)


async def test_a_pending_payment_is_asked_about_until_it_has_ended(gateway: Gateway) -> None:
    with pytest.raises(Uncertain):
        await gateway.capture(asked("tok_pending_declined"), CALL)
    for _ in range(2):
        with pytest.raises(Later):
            await gateway.outcome(asked("tok_pending_declined"), CALL)
    assert await gateway.outcome(asked("tok_pending_declined"), CALL) == Declined("card_declined")
