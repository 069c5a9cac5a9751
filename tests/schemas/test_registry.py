"""From bytes to payloads: every contract both ways, and a clear answer to everything that is none."""

import json
import re
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from shared.schemas.base import Command, Payload
from shared.schemas.customer import RegisterCustomer, TagCustomer
from shared.schemas.envelope import Unreadable
from shared.schemas.hr import EmployeeHired
from shared.schemas.publish import contracts, document
from shared.schemas.registry import PAYLOAD_BYTES_MAX, newest, parse
from shared.schemas.sales import PurchaseRecorded
from tests.schemas.payloads import payloads_of, samples_of

CONTRACTS = list(contracts().values())
PURCHASE = "kello.sales.purchase-recorded.v1"
SECRET = "max.mustermann@example.org"

every_contract = pytest.mark.parametrize("model", CONTRACTS, ids=lambda model: model.ce_type)


def purchase(**changes: object) -> bytes:
    line = {"sku": "TEA", "description": "Tea", "quantity": 2, "unit_price": 100}
    fields = {
        "version": 1,
        "purchase_id": str(uuid.UUID(int=1)),
        "customer_id": str(uuid.UUID(int=2)),
        "currency": "EUR",
        "country": "AT",
        "lines": [line | {name[5:]: value for name, value in changes.items() if name.startswith("line_")}],
    }
    fields |= {name: value for name, value in changes.items() if not name.startswith("line_")}
    return json.dumps(fields).encode()


def refusal(ce_type: str, value: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as error:
        parse(ce_type, value)
    return error.value


def told(ce_type: str, value: bytes) -> str:
    """What the sender is told; nothing where there is nothing to complain of."""
    try:
        parse(ce_type, value)
    except Unreadable as error:
        return str(error)
    return ""


@every_contract
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_every_payload_survives_the_wire(model: type[Payload], data: st.DataObject) -> None:
    fields = data.draw(payloads_of(model))
    payload = parse(model.ce_type, json.dumps(fields).encode())
    assert payload.ce_type == newest(model.ce_type)
    written = payload.model_dump_json().encode()
    assert parse(payload.ce_type, written) == payload
    assert fields.keys() <= json.loads(written).keys() or payload.ce_type != model.ce_type
    Draft202012Validator(document(type(payload))).validate(json.loads(written))
    assert payload.kafka_key == str(getattr(payload, model.key_field))
    assert payload.subject.startswith(model.subject_pattern.partition("{")[0])


@every_contract
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=5)
def test_no_json_whatever_raises_anything_but_unreadable(model: type[Payload], value: object) -> None:
    with pytest.raises(Unreadable):
        parse(model.ce_type, json.dumps(value).encode())


@every_contract
@given(data=st.data())
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_no_refusal_repeats_what_was_sent(model: type[Payload], data: st.DataObject) -> None:
    fields = data.draw(payloads_of(model))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(
        st.sampled_from([SECRET, {SECRET: SECRET}, [SECRET]])
    )
    fields[SECRET] = SECRET
    assert not re.search(r"max\.|mustermann", told(model.ce_type, json.dumps(fields).encode()))


@every_contract
def test_commands_refuse_unknown_fields_and_events_ignore_them(model: type[Payload]) -> None:
    fields = samples_of(model.ce_type)[0] | {"a_field_of_tomorrow": 1}
    if issubclass(model, Command):
        assert "remove it" in refusal(model.ce_type, json.dumps(fields).encode()).message
    else:
        parse(model.ce_type, json.dumps(fields).encode())


def test_unknown_fields_of_a_commands_parts_are_refused_too() -> None:
    for ce_type, part in (("kello.billing.issue-invoice.v1", "lines"), (RegisterCustomer.ce_type, "contact_points")):
        fields = samples_of(ce_type)[0]
        fields[part][0]["a_field_of_tomorrow"] = 1
        assert f"{part}.0.*: is a field" in refusal(ce_type, json.dumps(fields).encode()).message


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"[1",
        b"nonsense",
        b'{"version": NaN}',
        b'{"version": -Infinity}',
        b'{"x": "\\ud800"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_what_is_not_json_is_refused(value: bytes) -> None:
    assert refusal(PURCHASE, value).code == "malformed-json"


def test_nan_is_refused_even_where_it_would_be_ignored() -> None:
    assert refusal(PURCHASE, purchase()[:-1] + b', "extra": NaN}').code == "malformed-json"
    parse(PURCHASE, purchase(extra="NaN and Infinity are words here"))


def test_an_empty_value_is_refused() -> None:
    assert refusal(PURCHASE, b"").code == "no-value"


def test_a_value_of_one_mebibyte_is_read_and_a_larger_one_is_not() -> None:
    empty = len(purchase(extra=""))
    parse(PURCHASE, purchase(extra="x" * (PAYLOAD_BYTES_MAX - empty)))
    assert refusal(PURCHASE, purchase(extra="x" * (PAYLOAD_BYTES_MAX - empty + 1))).code == "too-large"
    assert refusal(PURCHASE, b"x" * 10_000_000).code == "too-large"


def test_an_unknown_type_is_refused() -> None:
    refused = refusal("kello.sales.unheard-of.v1", b"{}")
    assert refused.code == "unknown-type"
    assert "unheard-of" not in refused.message


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"version": 0}, "version"),
        ({"version": 1.5}, "version"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"version": 2**63}, "version"),
        ({"customer_id": "nobody"}, "customer_id"),
        ({"customer_id": 7}, "customer_id"),
        ({"customer_id": None}, "customer_id"),
        ({"currency": "XXX"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"country": "ZZ"}, "country"),
        ({"lines": []}, "lines"),
        ({"lines": {}}, "lines"),
        ({"lines": [None] * 101}, "lines"),
        ({"line_quantity": 0}, "lines.0.quantity"),
        ({"line_quantity": -1}, "lines.0.quantity"),
        ({"line_quantity": 10**7}, "lines.0.quantity"),
        ({"line_unit_price": -1}, "lines.0.unit_price"),
        ({"line_unit_price": 10**30}, "lines.0.unit_price"),
        ({"line_unit_price": 1.5}, "lines.0.unit_price"),
        ({"line_unit_price": 10**14}, "lines"),
        ({"line_discount": 201}, "lines.0"),
        ({"line_description": ""}, "lines.0.description"),
        ({"line_description": "x" * 201}, "lines.0.description"),
        ({"line_description": "a\x00b"}, "lines.0.description"),
        ({"line_tax_class": "Not A Code"}, "lines.0.tax_class"),
        ({"line_tax_class": "code\n"}, "lines.0.tax_class"),
        ({"prices_include_tax": "yes"}, "prices_include_tax"),
        ({"prices_include_tax": 1}, "prices_include_tax"),
    ],
)
def test_a_rule_that_is_broken_is_named_with_its_field(change: dict[str, Any], location: str) -> None:
    refused = refusal(PURCHASE, purchase(**change))
    assert refused.code == "breaks-contract"
    assert refused.message.startswith(f"{PURCHASE}: {location}")


@pytest.mark.parametrize(
    "text",
    ["Ünïcödé", "שלום", "مرحبا", "🙂👩‍👩‍👧", "Robert'); DROP TABLE customers;--", "{{ 7*7 }}", "{0.__class__}", "%s%n"],
)
def test_every_text_that_can_be_stored_is_text(text: str) -> None:
    payload = parse(PURCHASE, purchase(line_description=text))
    assert isinstance(payload, PurchaseRecorded)
    assert payload.lines[0].description == text


@pytest.mark.parametrize(
    "day",
    [
        "1899-12-31",
        "2201-01-01",
        "9999-12-31",
        "0001-01-01",
        "2026-02-29",
        "2026-1-1",
        "today",
        1769817600,
        1.5,
        "1769817600",
        "2026-01-31T00:00:00",
        "20260131",
    ],
)
def test_a_day_outside_the_calendar_is_refused(day: object) -> None:
    fields = samples_of(EmployeeHired.ce_type)[0] | {"hired_on": day}
    assert "hired_on" in refusal(EmployeeHired.ce_type, json.dumps(fields).encode()).message


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-31T12:00:00",
        "2026-01-31",
        1769817600,
        "1769817600",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1900-01-01T00:00:00+01:00",
        "2201-01-01T00:00:00Z",
    ],
)
def test_a_moment_without_a_zone_or_outside_the_calendar_is_refused(moment: object) -> None:
    ce_type = "kello.customer.record-interaction.v1"
    fields = samples_of(ce_type)[0] | {"occurred_at": moment}
    assert "occurred_at" in refusal(ce_type, json.dumps(fields).encode()).message


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("email", "nobody"),
        ("email", "a@b@c"),
        ("phone", "12345"),
        ("phone", "+1"),
        ("iban", "AT611904300234573202"),
        ("iban", "XX00"),
        ("locale", "german"),
        ("locale", "de_AT"),
        ("zone", "Europe/Atlantis"),
        ("zone", "../etc/passwd"),
        ("country", "Austria"),
    ],
)
def test_a_standard_code_that_is_none_is_refused(field: str, wrong: str) -> None:
    fields = samples_of(EmployeeHired.ce_type)[0] | {field: wrong}
    refused = refusal(EmployeeHired.ce_type, json.dumps(fields).encode())
    assert f": {field}: " in refused.message
    assert wrong not in refused.message


@pytest.mark.parametrize(
    ("ce_type", "changes", "rule"),
    [
        ("kello.hr.absence-recorded.v1", {"ends_on": "2026-06-30"}, "ends_on must not lie before starts_on"),
        ("kello.sales.booking-confirmed.v1", {"ends_on": "2026-06-30"}, "ends_on must not lie before starts_on"),
        ("kello.customer.record-feedback.v1", {"kind": "csat", "score": 0}, "the score must be 1 to 5 for csat"),
        ("kello.customer.record-feedback.v1", {"kind": "csat", "score": 6}, "the score must be 1 to 5 for csat"),
        ("kello.customer.feedback-received.v1", {"kind": "csat", "score": 6}, "the score must be 1 to 5 for csat"),
        ("kello.customer.add-contact-point.v1", {"channel": "in_app"}, "the app needs none"),
        ("kello.customer.add-contact-point.v1", {"channel": "sms"}, "written as in E.164"),
        ("kello.customer.set-preferred-channels.v1", {"channels": []}, "at least 1 item"),
        ("kello.notify.request-notification.v1", {"data": {"a b": 1}}, "data.*"),
        ("kello.notify.request-notification.v1", {"data": {f"k{i}": i for i in range(51)}}, "at most 50"),
        ("kello.notify.request-notification.v1", {"data": {"k": 1.5}}, "data.*"),
        ("kello.payroll.start-payroll-run.v1", {"period": "2026-13"}, "period"),
    ],
)
def test_a_rule_of_one_contract_is_kept(ce_type: str, changes: dict[str, Any], rule: str) -> None:
    assert rule in refusal(ce_type, json.dumps(samples_of(ce_type)[0] | changes).encode()).message


def test_a_lone_surrogate_is_refused_in_the_sender_too() -> None:
    for text in ("\ud800", "a\udfff"):
        with pytest.raises(ValidationError):
            TagCustomer(customer_id=uuid.UUID(int=1), issued_by=text, tag="vip")


def test_addresses_and_codes_are_brought_into_their_normal_form() -> None:
    fields = samples_of(EmployeeHired.ce_type)[0]
    fields |= {
        "email": "Eva@EXAMPLE.org",
        "phone": "+43 (1) 234 567 89",
        "iban": "at61 1904 3002 3457 3201",
        "locale": "DE-at",
    }
    hired = parse(EmployeeHired.ce_type, json.dumps(fields).encode())
    assert isinstance(hired, EmployeeHired)
    assert (hired.email, hired.phone, hired.iban, hired.locale) == (
        "Eva@example.org",
        "+43123456789",
        "AT611904300234573201",
        "de-AT",
    )


def test_a_flood_of_broken_rules_is_told_within_a_bound() -> None:
    refused = refusal(PURCHASE, purchase(lines=[{} for _ in range(100)]))
    assert len(refused.message) < 1500
    assert refused.message.endswith("more")
