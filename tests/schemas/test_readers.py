"""Readers: what they declare must be there, must be declared by all, and is what a change is said to hit."""

import pytest

from shared.schemas.base import Payload
from shared.schemas.billing import InvoiceIssued, IssueInvoice
from shared.schemas.compatibility import Break
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.hr import OvertimeRecorded, OvertimeRecordedV1
from shared.schemas.publish import Difference, contracts, document
from shared.schemas.readers import Reader, changes, declared, has_field, undeclared, unreadable, unwritten
from tests.schemas.payloads import samples_of

INVOICE, PROFILE = InvoiceIssued.ce_type, CustomerProfile.ce_type
SHOP = Reader("shop", {INVOICE: ("number", "lines[].sku", "bill_to")})
CRM = Reader("crm", {INVOICE: ("total",), OvertimeRecorded.ce_type: ("minutes",)})


def hit(ce_type: str, one: Break) -> tuple[str, ...]:
    (found,) = changes([Difference(ce_type, "breaking", [one])], [SHOP, CRM])
    return found.readers


@pytest.mark.parametrize(
    ("where", "readers"),
    [
        ("payload.number", ("shop",)),
        ("payload.lines[].sku", ("shop",)),
        ("payload.lines[].tax", ()),
        ("payload.lines", ("shop",)),
        ("payload.bill_to.address_lines[]", ("shop",)),
        ("payload.total", ("crm",)),
        ("payload.tax", ()),
        ("payload", ("shop", "crm")),
    ],
)
def test_a_change_hits_older_readers_where_they_read(where: str, readers: tuple[str, ...]) -> None:
    assert hit(INVOICE, Break(where, "older readers", "it changed")) == readers
    assert hit(INVOICE, Break(where, "older payloads", "it changed")) == ("shop", "crm")


def test_who_reads_the_newest_version_is_hit_by_a_change_of_an_older_one() -> None:
    assert hit(OvertimeRecordedV1.ce_type, Break("payload.minutes", "older readers", "it changed")) == ("crm",)


def test_the_key_is_read_by_everybody() -> None:
    assert declared("shop", {InvoiceIssued: "number total"}).reads == {INVOICE: ("customer_id", "number", "total")}


@pytest.mark.parametrize(
    ("model", "path", "is_there"),
    [
        (InvoiceIssued, "lines[].sku", True),
        (InvoiceIssued, "lines", True),
        (InvoiceIssued, "lines.sku", False),
        (InvoiceIssued, "number[]", False),
        (InvoiceIssued, "bill_to.country", True),
        (InvoiceIssued, "bill_to.planet", False),
        (CustomerProfile, "consents.*.valid_until", True),
        (CustomerProfile, "consents.marketing", False),
        (CustomerProfile, "address.lines", True),
    ],
)
def test_a_field_is_found_by_its_path(model: type[Payload], path: str, *, is_there: bool) -> None:
    assert has_field(document(model), path) is is_there


def test_what_nobody_writes_cannot_be_read() -> None:
    shop = Reader("shop", {INVOICE: ("number", "colour"), "kello.billing.invoice-sung.v1": ("tune",)})
    found = {str(one) for one in unwritten(contracts(), [shop])}
    assert found == {
        f"{INVOICE}: payload.colour: nobody writes this field (breaks readers: shop)",
        "kello.billing.invoice-sung.v1: payload: nobody publishes it (breaks readers: shop)",
    }


def test_every_event_that_is_decided_upon_is_declared_and_no_other() -> None:
    types = {INVOICE, PROFILE, IssueInvoice.ce_type, ProfileErased.ce_type}
    found = [str(one) for one in undeclared("crm", types, CRM)]
    assert len(found) == 2
    assert found[0].startswith(f"{PROFILE}: payload: crm decides upon it and does not declare")
    assert found[1].startswith(f"{OvertimeRecorded.ce_type}: payload: crm declares to read it and does not decide")


def test_a_recorded_payload_that_is_read_no_more_hits_whoever_receives_it() -> None:
    (found,) = unreadable({INVOICE: [samples_of(INVOICE)[0], {"version": 1}]}, [SHOP, CRM])
    assert (found.where, found.breaks, found.readers) == ("sample 1", "older payloads", ("shop", "crm"))
    assert "Field required" in found.what
