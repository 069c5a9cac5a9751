"""Every SQL statement of billing, set-based, one function each: a batch of any size runs each at most once."""

from services.billing.store.account import (
    accounts_of,
    insert_accounts,
    insert_customers,
    locked_customers,
    update_accounts,
    update_customers,
)
from services.billing.store.invoice import (
    insert_invoices,
    invoices_of_causes,
    invoices_with_ids,
    unpaid_invoices_of,
    update_invoices,
)
from services.billing.store.ledger import insert_allocations, insert_entries
from services.billing.store.legal_entity import (
    insert_series,
    legal_entity_and_rates,
    locked_series,
    update_series,
)
from services.billing.store.payment import insert_payments, payments_of, update_payments

__all__ = [
    "accounts_of",
    "insert_accounts",
    "insert_allocations",
    "insert_customers",
    "insert_entries",
    "insert_invoices",
    "insert_payments",
    "insert_series",
    "invoices_of_causes",
    "invoices_with_ids",
    "legal_entity_and_rates",
    "locked_customers",
    "locked_series",
    "payments_of",
    "unpaid_invoices_of",
    "update_accounts",
    "update_customers",
    "update_invoices",
    "update_payments",
    "update_series",
]
