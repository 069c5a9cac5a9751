"""A person to look at: one customer from all sides, an invoice, a mail as it arrived, a payroll report."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import httpx

from shared.schemas.money import decimal_text

SHOWN = 6
"""So many of each list."""
REPORT_COLUMNS = ("gross", "withholdings", "deductions", "net", "paid")


@dataclass(frozen=True, slots=True)
class Door:
    """Where a service answers, and the token that opens it."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Card:
    title: str
    text: str


async def portraits(doors: dict[str, Door], mailbox: str, customer_id: object, run_id: object) -> list[Card]:
    """The cards, read over HTTP as anybody with a token would."""
    async with httpx.AsyncClient(timeout=30) as client:

        async def get(service: str, path: str) -> httpx.Response:
            door = doors[service]
            response = await client.get(door.url + path, headers={"Authorization": f"Bearer {door.token}"})
            response.raise_for_status()
            return response

        customer = (await get("customer", f"/customers/{customer_id}")).json()
        invoices = (await get("billing", f"/customers/{customer_id}/invoices")).json()["invoices"]
        issued = [each for each in invoices if each["number"]]
        largest = max(issued, key=lambda each: int(each["total"]))
        whole = (await get("billing", f"/invoices/{largest['invoice_id']}")).json()
        report = (await get("payroll", f"/runs/{run_id}/report")).text
        addresses = [each["value"] for each in customer["contact_points"] if each["channel"] == "email"]
        cards = [Card(f"{customer['name']}, from all sides", _all_round(customer)), _invoice(whole)]
        cards += await _mail(client, mailbox, addresses)
        return [*cards, _report(report)]


def _all_round(customer: dict[str, Any]) -> str:
    points = ", ".join(f"{each['channel']} {each['value']}" for each in customer["contact_points"])
    consents = ", ".join(f"{each['purpose']} {each['status']}" for each in customer["consents"])
    tickets = ", ".join(f"{each['subject_line']} ({each['status']})" for each in customer["tickets"])
    told = ", ".join(f"{each['template']} ({each['status']})" for each in customer["communication"][:SHOWN])
    balances = ", ".join(
        f"{_money(each['outstanding'], each['currency'])} owed, {_money(each['credit'], each['currency'])} credit"
        for each in customer["balances"]
    )
    lines = [
        f"{customer['kind']}, {customer['status']}, {customer['locale']}, version {customer['version']}",
        f"reached by    {points or 'the inbox of the app'}",
        f"prefers       {', '.join(customer['preferred_channels']) or 'nothing'}",
        f"consents      {consents or 'none'}",
        f"tags          {', '.join(_names(customer['tags'], 'tag')) or 'none'}",
        f"segments      {', '.join(_names(customer['segments'], 'segment')) or 'none'}",
        f"balance       {balances or 'none'}; {customer['loyalty']['points']} points",
        f"tickets       {tickets or 'none'}",
        f"was told      {told or 'nothing'}",
        *_history(customer["timeline"]),
        "as of         "
        + ", ".join(f"{each['source']} {each['time'][:19]}Z" for each in customer["as_of"] if each["time"]),
    ]
    return "\n".join(lines)


def _names(items: Iterable[Any], field: str) -> list[str]:
    return [str(each[field]) if isinstance(each, dict) else str(each) for each in items]


def _history(timeline: list[dict[str, Any]]) -> list[str]:
    lines = []
    for each in timeline[:SHOWN]:
        amount = _money(each["amount"], each["currency"]) if each["amount"] is not None else ""
        about = each["details"].get("template") or each["details"].get("number") or ""
        lines.append(f"{each['at'][:16]}  {each['kind']:<17} {amount:>14}  {about}")
    return lines


def _invoice(invoice: dict[str, Any]) -> Card:
    currency = invoice["currency"]
    lines = [
        f"to {invoice['bill_to']['name']}, {', '.join(invoice['bill_to']['address_lines']) or 'no address'}",
        f"issued {invoice['issued_on']}, due {invoice['due_on']}",
    ]
    for each in invoice["lines"]:
        rate = f"{each['tax_rate'] / 100:g} %"
        lines.append(
            f"{each['quantity']:>3} x {each['description']:<20} {_money(each['net'], currency):>14}"
            f"  + {rate:>5} {_money(each['tax'], currency):>12}"
        )
    total, paid, left = (_money(invoice[part], currency) for part in ("total", "paid", "open"))
    return Card(f"Invoice {invoice['number']}", "\n".join([*lines, f"total {total}, paid {paid}, open {left}"]))


def _report(content: str) -> Card:
    """The first payslips of a run's register, and the columns that tell most."""
    rows = list(csv.DictReader(StringIO(content)))
    slips = [row for row in rows if row["record"] == "payslip"]
    lines = [f"{'department':<11}{'employee':<10}" + "".join(f"{name:>13}" for name in REPORT_COLUMNS) + "  state"]
    for row in slips[:SHOWN]:
        amounts = "".join(f"{row[name]:>13}" for name in REPORT_COLUMNS)
        state = f"{row['state']} ({row['reason']})" if row["reason"] else row["state"]
        lines.append(f"{row['department']:<11}…{row['employee_id'][-8:]} {amounts}  {state}")
    first = slips[0]
    title = f"Payroll report of {first['period']} in {first['currency']}: {len(slips)} payslips"
    return Card(title, "\n".join(lines))


async def _mail(client: httpx.AsyncClient, mailbox: str, addresses: list[str]) -> list[Card]:
    """The last mail that arrived for somebody."""
    for address in addresses:
        mails = (await client.get(f"{mailbox}/admin/mails", params={"to": address})).json()["mails"]
        if mails:
            mail = (await client.get(f"{mailbox}/admin/mails/{mails[-1]['n']}")).json()
            wanted = ("From", "To", "Subject", "Date", "Message-ID")
            headers = [f"{name}: {value}" for name, value in mail["headers"] if name in wanted]
            return [Card("A mail, as it arrived", "\n".join([*headers, "", (mail["text"] or "").strip()]))]
    return []


def _money(amount: int, currency: str) -> str:
    return f"{decimal_text(amount, currency)} {currency}"
