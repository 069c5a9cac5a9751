"""Who bills, its number series and the tax rates in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from zoneinfo import ZoneInfo

from services.billing.domain.legal_entity import LegalEntity, Series
from services.billing.domain.tax import TaxRate, TaxRates
from services.billing.store.columns import columns
from shared.messaging.database import Tx, expect_rows
from shared.messaging.working_set import Changed


async def legal_entity_and_rates(tx: Tx, countries: Collection[str]) -> tuple[LegalEntity, TaxRates]:
    """Who bills: there is one. And the rates of some countries."""
    rows = await tx.fetch(
        """
        SELECT e.code, e.zone, e.lanes, e.payment_terms_days, r.country, r.tax_class, r.valid_from, r.basis_points
        FROM legal_entity AS e LEFT JOIN tax_rate AS r ON r.country = ANY ($1)
        """,
        list(countries),
    )
    if not rows:
        raise LookupError("the table legal_entity must hold the one that bills")
    code, zone, lanes, terms = rows[0][:4]
    rates = TaxRates(TaxRate(*row[4:]) for row in rows if row["country"] is not None)
    return LegalEntity(code, ZoneInfo(zone), lanes, terms), rates


async def locked_series(tx: Tx, keys: Collection[tuple[str, int, int]]) -> list[Series]:
    """Those that exist, locked until the transaction ends. After the customers, before anything is written."""
    rows = await tx.fetch(
        """
        SELECT legal_entity, year, lane, next_number
        FROM number_series
        WHERE (legal_entity, year, lane) IN (SELECT * FROM unnest($1::text[], $2::integer[], $3::integer[]))
        ORDER BY legal_entity, year, lane
        FOR NO KEY UPDATE
        """,
        *columns(sorted(keys), 3),
    )
    return [Series(*row) for row in rows]


async def insert_series(tx: Tx, series: Iterable[Series]) -> None:
    """New roots, in the order of their keys."""
    rows = sorted((each.legal_entity, each.year, each.lane, each.next_number) for each in series)
    await tx.execute(
        """
        INSERT INTO number_series (legal_entity, year, lane, next_number)
        SELECT * FROM unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[])
        """,
        *columns(rows, 4),
    )


async def update_series(tx: Tx, changed: Sequence[Changed[Series]]) -> None:
    status = await tx.execute(
        """
        UPDATE number_series AS s SET next_number = u.next_number
        FROM unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[], $5::bigint[])
            AS u (legal_entity, year, lane, next_number, loaded_number)
        WHERE s.legal_entity = u.legal_entity AND s.year = u.year AND s.lane = u.lane
            AND s.next_number = u.loaded_number
        """,
        *columns([(*each.after.key, each.after.next_number, each.before.next_number) for each in changed], 5),
    )
    expect_rows(status, len(changed))
