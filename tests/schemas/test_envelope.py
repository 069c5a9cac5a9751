"""The CloudEvents envelope: what is written can be read, and what is broken says what to do."""

import base64
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schemas.envelope import Envelope, Unreadable, headers, moment_of, read

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WHOLE = Envelope(
    id="01990a6c-7c00-7001-8000-000000000001",
    source="shop/vienna",
    type="kello.sales.purchase-recorded.v1",
    time=datetime(2026, 1, 31, 12, tzinfo=UTC),
    subject="purchase/1",
    correlation_id="first",
    causation_id="previous",
    traceparent=TRACE,
)
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=255)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive bounds


def replaced(name: str, content: bytes | None) -> list[tuple[str, bytes | None]]:
    return [(key, content if key == name else value) for key, value in headers(WHOLE)]


def structured(**changes: object) -> bytes:
    event = {
        "specversion": "1.0",
        "id": WHOLE.id,
        "source": WHOLE.source,
        "type": WHOLE.type,
        "time": "2026-01-31T13:00:00+01:00",
        "subject": WHOLE.subject,
        "correlationid": WHOLE.correlation_id,
        "causationid": WHOLE.causation_id,
        "traceparent": TRACE,
        "datacontenttype": "application/json",
        "data": {"version": 1},
    }
    return orjson.dumps({name: value for name, value in (event | changes).items() if value is not None})


envelopes = st.builds(
    Envelope,
    id=words,
    source=words,
    type=words,
    time=moments,
    subject=st.none() | words,
    correlation_id=words,
    causation_id=st.none() | words,
    traceparent=st.none() | st.just(TRACE),
)


@given(envelopes)
def test_what_is_written_is_read_back(written: Envelope) -> None:
    assert read(headers(written), b"{}") == (written, b"{}")


def test_the_headers_are_those_of_cloudevents_in_binary_mode() -> None:
    assert dict(headers(WHOLE)) == {
        "ce_specversion": b"1.0",
        "ce_id": b"01990a6c-7c00-7001-8000-000000000001",
        "ce_source": b"shop/vienna",
        "ce_type": b"kello.sales.purchase-recorded.v1",
        "ce_time": b"2026-01-31T12:00:00Z",
        "ce_subject": b"purchase/1",
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
        "ce_correlationid": b"first",
        "ce_causationid": b"previous",
    }


def test_a_record_without_a_correlation_begins_one() -> None:
    found, _ = read([pair for pair in headers(WHOLE) if pair[0] != "ce_correlationid"], b"{}")
    assert found.correlation_id == WHOLE.id


def test_a_header_that_comes_twice_counts_as_it_came_last() -> None:
    found, _ = read([("ce_id", b"first"), *headers(WHOLE)], b"{}")
    assert found.id == WHOLE.id


@pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type", "ce_time", "ce_specversion"])
@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_header_is_named(name: str, content: bytes | None) -> None:
    for pairs in (replaced(name, content), [pair for pair in headers(WHOLE) if pair[0] != name]):
        with pytest.raises(Unreadable, match=f"add the header {name}") as error:
            read(pairs, b"{}")
        assert error.value.code == f"missing-{name}"


@pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type", "ce_time"])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\x00b", b"\xed\xa0\x80", b"x" * 256])
def test_a_broken_header_that_is_needed_is_an_error(name: str, content: bytes) -> None:
    with pytest.raises(Unreadable) as error:
        read(replaced(name, content), b"{}")
    assert error.value.code == f"malformed-{name}"


@pytest.mark.parametrize("name", ["ce_subject", "ce_correlationid", "ce_causationid", "traceparent", "content-type"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a\x00b", b"x" * 5000])
def test_a_broken_header_that_is_not_needed_is_as_good_as_none(name: str, content: bytes | None) -> None:
    found, value = read([*replaced(name, content), ("noise", b"\xff"), ("more", None)], b"{}")
    assert found.id == WHOLE.id
    assert value == b"{}"


@pytest.mark.parametrize(
    "text",
    [
        "now",
        "1769860800",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-13-31T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-W05-6T12:00:00Z",
        "1899-12-31T23:59:59Z",
        "2201-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-01-31T12:00:00+99:99",
        "2026-01-31T12:00:00Z\n",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="RFC 3339") as error:
        read(replaced("ce_time", text.encode()), b"{}")
    assert error.value.code == "malformed-ce_time"


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31T13:00:00.000000000+01:00", "2026-01-31 12:00:00Z"],
)
def test_every_spelling_of_rfc_3339_is_the_same_moment(text: str) -> None:
    assert read(replaced("ce_time", text.encode()), b"{}")[0].time == WHOLE.time


@pytest.mark.parametrize("text", [b"0.3", b"2.0", b"1"])
def test_another_version_of_cloudevents_is_refused(text: bytes) -> None:
    with pytest.raises(Unreadable, match="ce_specversion must be"):
        read(replaced("ce_specversion", text), b"{}")


@pytest.mark.parametrize("text", [b"text/plain", b"application/xml", b"application/avro"])
def test_another_content_type_is_refused(text: bytes) -> None:
    with pytest.raises(Unreadable) as error:
        read(replaced("content-type", text), b"{}")
    assert error.value.code == "content-type-not-json"


@pytest.mark.parametrize(
    "text", [b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/vnd.shop+json"]
)
def test_every_content_type_that_is_json_is_read(text: bytes) -> None:
    assert read(replaced("content-type", text), b"{}")[0].id == WHOLE.id


@pytest.mark.parametrize(
    "trace",
    [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736",
        "nonsense",
    ],
)
def test_a_malformed_traceparent_is_dropped(trace: str) -> None:
    assert read(replaced("traceparent", trace.encode()), b"{}")[0].traceparent is None
    assert read(STRUCTURED, structured(traceparent=trace))[0].traceparent is None


def test_a_structured_event_is_read_like_a_binary_one() -> None:
    assert read(STRUCTURED, structured()) == (WHOLE, b'{"version":1}')


def test_data_in_base64_is_read() -> None:
    data = base64.b64encode(b'{"version":2}').decode()
    assert read(STRUCTURED, structured(data=None, data_base64=data))[1] == b'{"version":2}'


def test_a_record_without_a_value_has_an_envelope_and_no_payload() -> None:
    assert read(headers(WHOLE), None) == (WHOLE, None)
    assert read(STRUCTURED, structured(data=None)) == (WHOLE, None)


@pytest.mark.parametrize("name", ["id", "source", "type", "time", "specversion"])
@pytest.mark.parametrize("content", [None, "", 7, {"a": 1}, "a\x00b", "x" * 256])
def test_a_structured_event_without_a_whole_attribute_is_refused(name: str, content: object) -> None:
    with pytest.raises(Unreadable):
        read(STRUCTURED, structured(**{name: content}))


@pytest.mark.parametrize(
    "value", [None, b"", b"null", b"[]", b"7", b"{", b'{"id": NaN}', b"\xff", b'{"id":"\\ud800"}', b"[" * 100_000]
)
def test_a_structured_value_that_is_no_object_is_refused(value: bytes | None) -> None:
    with pytest.raises(Unreadable) as error:
        read(STRUCTURED, value)
    assert error.value.code == "malformed-envelope"


@pytest.mark.parametrize("data", ["***", 7, "é"])
def test_data_that_is_no_base64_is_refused(data: object) -> None:
    with pytest.raises(Unreadable) as error:
        read(STRUCTURED, structured(data_base64=data))
    assert error.value.code == "malformed-data_base64"


def test_structured_data_that_is_not_json_is_refused() -> None:
    with pytest.raises(Unreadable) as error:
        read(STRUCTURED, structured(datacontenttype="text/xml"))
    assert error.value.code == "content-type-not-json"


@given(
    st.lists(st.tuples(st.sampled_from([name for name, _ in headers(WHOLE)]), st.none() | st.binary(max_size=40))),
    st.binary(max_size=40),
)
def test_no_header_whatever_raises_anything_but_unreadable(pairs: list[tuple[str, bytes | None]], value: bytes) -> None:
    for given_headers in (pairs, [*headers(WHOLE), *pairs], [*pairs, *STRUCTURED]):
        with suppress(Unreadable):
            read(given_headers, value)


@pytest.mark.parametrize("timestamp", [-1, 0, 1_769_860_800_000, 2**63 - 1])
def test_every_timestamp_of_a_record_is_some_moment(timestamp: int) -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) <= moment_of(timestamp) <= datetime(2200, 1, 1, tzinfo=UTC)
