"""Letters: two languages, every template, and nothing that a name or a title could break."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify import letters
from services.notify.domain.catalogue import TEMPLATES
from services.notify.domain.notification import Cause, Fields, Notification
from services.notify.domain.recipient import Recipient
from services.notify.domain.tasks import SendEmail
from services.notify.mail import Postbox
from shared.messaging.decision import Refused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA = Recipient(UUID(int=1), "active", "customer", "Ada Lovelace", "en-GB", "Europe/London")
SALARY: Fields = {
    "period": "2026-02",
    "paid_on": "2026-02-27",
    "net": 123456,
    "currency": "EUR",
    "reference": "pay_1",
}
ALL_FIELDS: Fields = {
    **SALARY,
    "number": "MAIN-2026-000001",
    "issued_on": "2026-03-01",
    "due_on": "2026-03-31",
    "total": 120000,
    "tax": 20000,
    "amount": 5000,
    "credit": 100,
    "reason": "declined",
    "ticket": "t-1",
    "title": "News",
    "body": "First line.\nSecond line.",
}


def told(template: str, fields: Fields = ALL_FIELDS, locale: str | None = None) -> Notification:
    cause = Cause("tests", "1", "tests", NOW)
    return Notification(
        UUID(int=2),
        ADA.id,
        template,
        TEMPLATES[template].category,
        cause,
        NOW,
        NOW + timedelta(days=1),
        fields,
        locale,
    )


def templates_and_languages() -> list[tuple[str, str]]:
    return [(template, language) for template in TEMPLATES for language in letters.LANGUAGES]


def parsed(name: str, subject: str, text: str = "text", html: str = "<p>html</p>") -> EmailMessage:
    postbox = Postbox("127.0.0.1", 25, "kello@example.com", "Kello")
    mail = SendEmail(
        notification_id=UUID(int=7),
        template="newsletter",
        category="marketing",
        language="en",
        to="ada@example.com",
        name=name,
        dated=NOW,
        subject=subject,
        text=text,
        html=html,
    )
    parsed = message_from_bytes(postbox.envelope(mail).content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_every_template_is_in_the_catalogue_and_in_every_language() -> None:
    assert {folder.name for folder in letters.FOLDER.iterdir()} == set(TEMPLATES)
    for template, language in templates_and_languages():
        assert (letters.FOLDER / template / f"{language}.j2").is_file()


@pytest.mark.parametrize(("template", "language"), templates_and_languages())
def test_every_template_says_who_and_what(template: str, language: str) -> None:
    texts = letters.render(told(template), replace(ADA, locale=language))
    assert texts.language == language
    assert "Ada Lovelace" in texts.text
    assert "Ada Lovelace" in texts.html
    assert texts.subject
    assert texts.short


@pytest.mark.parametrize(("template", "language"), templates_and_languages())
def test_both_languages_of_a_template_name_the_same_fields(template: str, language: str) -> None:
    first = letters._sheet(template, letters.LANGUAGES[0]).fields
    assert letters._sheet(template, language).fields == first


@pytest.mark.parametrize(("template", "language"), templates_and_languages())
def test_html_escapes_every_field_and_text_none(template: str, language: str) -> None:
    evil = "<script>alert(1)</script>"
    fields = {
        name: evil if name in {"number", "reason", "ticket", "title", "body", "reference"} else value
        for name, value in ALL_FIELDS.items()
    }
    texts = letters.render(told(template, fields), replace(ADA, name=evil, locale=language))
    assert "<script>" not in texts.html
    assert "&lt;script&gt;" in texts.html
    assert evil in texts.text


@pytest.mark.parametrize(
    ("locale", "language", "sum_in_words", "day_in_words"),
    [
        ("en", "en", "€1,234.56", "February 27, 2026"),
        ("en-GB", "en", "€1,234.56", "27 February 2026"),
        ("de", "de", "1.234,56 €", "27. Februar 2026"),
        ("de-AT", "de", "€ 1.234,56", "27. Februar 2026"),
        ("fr-FR", "en", "1 234,56 €", "27 février 2026"),
        ("zz-ZZ", "en", "€1,234.56", "February 27, 2026"),
    ],
)
def test_language_and_numbers_fall_back_each_for_itself(
    locale: str, language: str, sum_in_words: str, day_in_words: str
) -> None:
    texts = letters.render(told("salary-paid", SALARY), replace(ADA, locale=locale))
    text = " ".join(texts.text.split())
    assert texts.language == language
    assert sum_in_words in text
    assert day_in_words in text


def test_the_requested_language_goes_before_the_recipients() -> None:
    assert letters.render(told("salary-paid", SALARY, locale="de-CH"), ADA).language == "de"


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [(7, "JPY", "¥7"), (1234567, "KWD", "KWD 1,234.567"), (150, "RSD", "RSD 1.50"), (-5, "EUR", "-€0.05")],
)
def test_money_has_the_digits_of_its_currency(amount: int, currency: str, written: str) -> None:
    assert " ".join(letters.money(amount, currency, letters.babel_locale("en")).split()) == written


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_missing_field_is_refused_before_anything_is_sent(template: str) -> None:
    for field in letters._sheet(template, "en").fields:
        fields = {name: value for name, value in ALL_FIELDS.items() if name != field}
        with pytest.raises(Refused, match=field) as refused:
            letters.check(template, fields)
        assert refused.value.code == "missing-field"
        with pytest.raises(Refused, match=field):
            letters.render(told(template, fields), ADA)


def test_an_unknown_template_is_refused_and_opens_no_file() -> None:
    with pytest.raises(Refused) as refused:
        letters.check("../../../etc/passwd", {})
    assert refused.value.code == "unknown-template"


def test_what_looks_like_a_template_in_a_field_stays_text() -> None:
    fields = {"title": "{{ 7 * 7 }}", "body": "{% for x in range(10**9) %}a{% endfor %}"}
    texts = letters.render(told("newsletter", fields), ADA)
    assert texts.subject == "{{ 7 * 7 }}"
    assert "10**9" in texts.text


def test_a_letter_beyond_every_bound_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        letters.render(told("newsletter", {"title": "News", "body": "x" * (letters.TEXT_CHARACTERS_MAX + 1)}), ADA)
    assert refused.value.code == "too-long"


def test_an_sms_is_cut_where_the_provider_would_refuse_it() -> None:
    texts = letters.render(told("newsletter", {"title": "News", "body": "x" * 5_000}), ADA)
    assert len(texts.short) == letters.SHORT_CHARACTERS_MAX
    assert texts.short.endswith("…")


@pytest.mark.parametrize("hostile", ["Ada\r\nBcc: all@example.com", "Ada\nX: y", "Ada\x00\x0b\x85\u2028Bcc: x"])
def test_a_line_break_in_a_name_or_a_title_adds_no_header(hostile: str) -> None:
    rendered = letters.render(told("newsletter", {"title": hostile, "body": "b"}), replace(ADA, name=hostile))
    assert len(rendered.subject.splitlines()) == 1
    for mail in (parsed(hostile, rendered.subject), parsed(hostile, hostile)):
        assert mail["Bcc"] is None
        assert mail["X"] is None
        assert [address.addr_spec for address in mail["To"].addresses] == ["ada@example.com"]


@given(st.text(max_size=200), st.text(max_size=300), st.text(max_size=2000))
def test_any_text_survives_the_mail_and_none_breaks_it(name: str, subject: str, body: str) -> None:
    name, subject, body = (text.encode("utf-8", "replace").decode() for text in (name, subject, body))
    mail = parsed(name, subject, body, f"<p>{body}</p>")
    assert mail["Message-ID"] == f"<{UUID(int=7)}@example.com>"
    assert [address.addr_spec for address in mail["To"].addresses] == ["ada@example.com"]
    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Language", "X-Kello-Template",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    plain, html = mail.iter_parts()
    assert plain.get_content() == body
    assert html.get_content() == f"<p>{body}</p>"
    assert all(len(line) <= 998 for line in mail.as_bytes().splitlines())


def test_names_and_subjects_beyond_ascii_arrive_as_they_are() -> None:
    mail = parsed("Jürgen Žižek", "Ihre Rechnung über 12,00 €")
    assert mail["To"].addresses[0].display_name == "Jürgen Žižek"
    assert mail["Subject"] == "Ihre Rechnung über 12,00 €"
    assert parsed('O"Neil, Pat (sales)', "x")["To"].addresses[0].display_name == 'O"Neil, Pat (sales)'
