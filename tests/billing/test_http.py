"""What billing answers over HTTP: accounts, invoices and statements, to who may read them."""

from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from shared.harness.kello import Kello
from shared.schemas.billing import InvoiceIssued, PaymentReceived
from tests.billing.orders import line, profile, purchase, transfer


async def bill(kello: Kello, customer: UUID, *days: date) -> list[InvoiceIssued]:
    """An invoice of 12.00 on each day, for a customer who is known by then."""
    await kello.publish(profile(customer), time=datetime(2026, 1, 1, tzinfo=UTC))
    await kello.settled()
    for day in days:
        await kello.publish(purchase(customer), time=datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    await kello.expect(InvoiceIssued, count=len(days), customer_id=customer)
    return sorted(await kello.events(InvoiceIssued, customer_id=customer), key=lambda each: each.issued_on)


async def test_accounts_and_invoices_are_shown_as_they_are(billing: Kello) -> None:
    customer, nobody = uuid4(), uuid4()
    [issued] = await bill(billing, customer, date(2026, 3, 1))
    paid = transfer(customer, 200, invoice_id=issued.invoice_id)
    await billing.publish(paid, transfer(customer, 50, currency="CHF"))
    await billing.expect(PaymentReceived, count=2, customer_id=customer)
    accounts = await billing.get("billing", f"/accounts/{customer}")
    invoice = await billing.get("billing", f"/invoices/{issued.invoice_id}")
    refused = [
        (await billing.get("billing", f"/accounts/{nobody}"))[0],
        (await billing.get("billing", f"/invoices/{nobody}"))[0],
        (await billing.get("billing", f"/customers/{nobody}/invoices"))[0],
        (await billing.get("billing", "/accounts/x"))[0],
        (await billing.get("billing", f"/accounts/{customer}", token=None))[0],
    ]
    assert accounts[0] == invoice[0] == 200
    assert [(each["currency"], each["outstanding"], each["credit"]) for each in accounts[1]["accounts"]] == [
        ("CHF", 0, 50),
        ("EUR", 1000, 0),
    ]
    assert accounts[1]["as_of"] == {"customer.profiles": "2026-01-01T00:00:00Z"}
    shown = invoice[1]
    assert (shown["status"], shown["total"], shown["paid"], shown["open"]) == ("issued", 1200, 200, 1000)
    assert (shown["number"], shown["series"]) == (issued.number, issued.series)
    assert shown["lines"] == [each.model_dump() for each in issued.lines]
    assert [(each["payment_id"], each["allocated"]) for each in shown["payments"]] == [(str(paid.payment_id), 200)]
    assert refused == [404, 404, 404, 400, 401]


async def test_invoices_come_in_pages(billing: Kello) -> None:
    customer = uuid4()
    issued = await bill(billing, customer, *(date(2026, 3, day) for day in range(1, 6)))
    pages: list[list[str]] = []
    after = ""
    while after is not None:
        _, page = await billing.get("billing", f"/customers/{customer}/invoices?limit=2{after and f'&after={after}'}")
        pages.append([each["invoice_id"] for each in page["invoices"]])
        after = page["next"]
    too_many, _ = await billing.get("billing", f"/customers/{customer}/invoices?limit=201")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in page] == [str(each.invoice_id) for each in issued]
    assert too_many == 400


async def test_a_statement_leads_from_one_balance_to_the_next(billing: Kello) -> None:
    customer = uuid4()
    first, second, _ = await bill(billing, customer, date(2026, 2, 10), date(2026, 3, 10), date(2026, 4, 10))
    early = transfer(customer, 1200 + 300, received_on=date(2026, 3, 15), invoice_id=first.invoice_id)
    await billing.publish(early)
    await billing.expect(PaymentReceived, customer_id=customer)
    await billing.publish(purchase(customer, line(100)), time=datetime(2026, 3, 20, tzinfo=UTC))
    by_credit = await billing.expect(InvoiceIssued, net=100, customer_id=customer)
    await billing.settled()
    status, march = await billing.get(
        "billing", f"/customers/{customer}/statement?currency=EUR&from=2026-03-01&to=2026-03-31"
    )
    _, page = await billing.get(
        "billing",
        f"/customers/{customer}/statement?currency=EUR&from=2026-03-01&to=2026-03-31"
        f"&limit=1&after={march['movements'][0]['entry_id']}",
    )
    refused = [
        (await billing.get("billing", f"/customers/{customer}/statement?{query}"))[0]
        for query in (
            "currency=EUR&from=2026-03-31&to=2026-03-01",
            "currency=EUR&from=2026-03-31",
            "currency=EURO&from=2026-03-01&to=2026-03-01",
            "currency=CHF&from=2026-03-01&to=2026-03-01",
        )
    ]
    assert status == 200
    assert (march["opening_balance"], march["closing_balance"]) == (1200, 1200 + 1200 - 1500 + 120)
    assert [(each["business_on"], each["kind"], each["amount"]) for each in march["movements"]] == [
        ("2026-03-10", "invoice", 1200),
        ("2026-03-15", "payment", -1500),
        ("2026-03-20", "invoice", 120),
    ]
    assert [each["invoice_id"] for each in march["movements"]][::2] == [
        str(second.invoice_id),
        str(by_credit.invoice_id),
    ]
    assert page["movements"] == march["movements"][1:2]
    assert (page["opening_balance"], page["closing_balance"]) == (1200, 1020)
    assert refused == [400, 400, 400, 404]
