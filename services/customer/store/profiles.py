"""Customers with what belongs to their profile."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from services.customer.domain.customer import Consent, ContactPoint, Customer, Tag
from shared.messaging.database import Row, Tx, expect_rows
from shared.messaging.working_set import Changed
from shared.schemas.customer import ProfileAddress
from shared.schemas.standards import Channel


async def customers(tx: Tx, ids: Sequence[UUID]) -> list[Customer]:
    rows = await tx.fetch("SELECT * FROM customer WHERE id = ANY ($1::uuid[])", ids)
    return [customer_of(row) for row in rows]


def customer_of(row: Row) -> Customer:
    return Customer(
        id=row["id"],
        version=row["version"],
        kind=row["kind"],
        status=row["status"],
        name=row["name"],
        locale=row["locale"],
        country=row["country"],
        zone=row["zone"],
        birth_date=row["birth_date"],
        tax_id=row["tax_id"],
        address=ProfileAddress.model_validate_json(row["address"]) if row["address"] is not None else None,
        attributes=orjson.loads(row["attributes"]),
        preferred_channels=tuple(Channel(channel) for channel in orjson.loads(row["preferred_channels"])),
        registered_at=row["registered_at"],
        changed_at=row["changed_at"],
    )


async def insert_customers(tx: Tx, new: Sequence[Customer]) -> None:
    await tx.execute(
        """
        INSERT INTO customer (
            id, version, kind, status, name, locale, country, zone, birth_date, tax_id, address, attributes,
            preferred_channels, registered_at, changed_at
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::date[], $10::text[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::timestamptz[], $15::timestamptz[]
        )
        """,
        [customer.id for customer in new],
        [customer.version for customer in new],
        [customer.kind for customer in new],
        [customer.status for customer in new],
        [customer.name for customer in new],
        [customer.locale for customer in new],
        [customer.country for customer in new],
        [customer.zone for customer in new],
        [customer.birth_date for customer in new],
        [customer.tax_id for customer in new],
        [_address(customer) for customer in new],
        [_json(customer.attributes) for customer in new],
        [_json(customer.preferred_channels) for customer in new],
        [customer.registered_at for customer in new],
        [customer.changed_at for customer in new],
    )


async def update_customers(tx: Tx, changed: Sequence[Changed[Customer]]) -> None:
    after = [each.after for each in changed]
    status = await tx.execute(
        """
        UPDATE customer AS c
        SET version = u.version, status = u.status, name = u.name, locale = u.locale, country = u.country,
            zone = u.zone, birth_date = u.birth_date, tax_id = u.tax_id, address = u.address,
            attributes = u.attributes, preferred_channels = u.preferred_channels, changed_at = u.changed_at
        FROM unnest(
            $1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::date[], $10::text[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::timestamptz[]
        ) AS u (
            id, loaded, version, status, name, locale, country, zone, birth_date, tax_id, address, attributes,
            preferred_channels, changed_at
        )
        WHERE c.id = u.id AND c.version = u.loaded
        """,
        [customer.id for customer in after],
        [each.before.version for each in changed],
        [customer.version for customer in after],
        [customer.status for customer in after],
        [customer.name for customer in after],
        [customer.locale for customer in after],
        [customer.country for customer in after],
        [customer.zone for customer in after],
        [customer.birth_date for customer in after],
        [customer.tax_id for customer in after],
        [_address(customer) for customer in after],
        [_json(customer.attributes) for customer in after],
        [_json(customer.preferred_channels) for customer in after],
        [customer.changed_at for customer in after],
    )
    expect_rows(status, len(changed))


async def contact_points(tx: Tx, customer_ids: Sequence[UUID]) -> list[ContactPoint]:
    """Those that were removed, too."""
    rows = await tx.fetch("SELECT * FROM contact_point WHERE customer_id = ANY ($1::uuid[])", customer_ids)
    return [
        ContactPoint(
            row["customer_id"],
            row["id"],
            Channel(row["channel"]),
            row["value"],
            row["purpose"],
            row["verified"],
            row["added_at"],
            row["removed_at"],
        )
        for row in rows
    ]


async def insert_contact_points(tx: Tx, new: Sequence[ContactPoint]) -> None:
    await tx.execute(
        """
        INSERT INTO contact_point (customer_id, id, channel, value, purpose, verified, added_at, removed_at)
        SELECT * FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::timestamptz[],
            $8::timestamptz[]
        )
        """,
        [point.customer_id for point in new],
        [point.id for point in new],
        [point.channel for point in new],
        [point.value for point in new],
        [point.purpose for point in new],
        [point.verified for point in new],
        [point.added_at for point in new],
        [point.removed_at for point in new],
    )


async def update_contact_points(tx: Tx, changed: Sequence[Changed[ContactPoint]]) -> None:
    """The one change there is: a contact point is removed."""
    status = await tx.execute(
        """
        UPDATE contact_point AS p SET value = NULL, removed_at = u.removed_at
        FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u (customer_id, id, removed_at)
        WHERE p.customer_id = u.customer_id AND p.id = u.id AND p.removed_at IS NULL
        """,
        [each.after.customer_id for each in changed],
        [each.after.id for each in changed],
        [each.after.removed_at for each in changed],
    )
    expect_rows(status, len(changed))


async def tags(tx: Tx, customer_ids: Sequence[UUID]) -> list[Tag]:
    """Those that were taken off, too."""
    rows = await tx.fetch("SELECT * FROM customer_tag WHERE customer_id = ANY ($1::uuid[])", customer_ids)
    return [Tag(row["customer_id"], row["tag"], row["tagged_at"], row["tagged_by"], row["untagged_at"]) for row in rows]


async def insert_tags(tx: Tx, new: Sequence[Tag]) -> None:
    await tx.execute(
        """
        INSERT INTO customer_tag (customer_id, tag, tagged_at, tagged_by, untagged_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[])
        """,
        [tag.customer_id for tag in new],
        [tag.tag for tag in new],
        [tag.tagged_at for tag in new],
        [tag.tagged_by for tag in new],
        [tag.untagged_at for tag in new],
    )


async def update_tags(tx: Tx, changed: Sequence[Changed[Tag]]) -> None:
    after = [each.after for each in changed]
    status = await tx.execute(
        """
        UPDATE customer_tag AS t
        SET tagged_at = u.tagged_at, tagged_by = u.tagged_by, untagged_at = u.untagged_at
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::timestamptz[])
            AS u (customer_id, tag, loaded, tagged_at, tagged_by, untagged_at)
        WHERE t.customer_id = u.customer_id AND t.tag = u.tag AND t.untagged_at IS NOT DISTINCT FROM u.loaded
        """,
        [tag.customer_id for tag in after],
        [tag.tag for tag in after],
        [each.before.untagged_at for each in changed],
        [tag.tagged_at for tag in after],
        [tag.tagged_by for tag in after],
        [tag.untagged_at for tag in after],
    )
    expect_rows(status, len(changed))


async def latest_consents(tx: Tx, customer_ids: Sequence[UUID]) -> list[Consent]:
    """The last word of each customer on each purpose."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (customer_id, purpose) *
        FROM consent
        WHERE customer_id = ANY ($1::uuid[])
        ORDER BY customer_id, purpose, version DESC
        """,
        customer_ids,
    )
    return [Consent(**row) for row in rows]


async def insert_consents(tx: Tx, new: Sequence[Consent]) -> None:
    await tx.execute(
        """
        INSERT INTO consent (
            customer_id, version, purpose, status, legal_basis, policy_version, evidence, valid_until, recorded_at,
            recorded_by
        )
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::date[],
            $9::timestamptz[], $10::text[]
        )
        """,
        [consent.customer_id for consent in new],
        [consent.version for consent in new],
        [consent.purpose for consent in new],
        [consent.status for consent in new],
        [consent.legal_basis for consent in new],
        [consent.policy_version for consent in new],
        [consent.evidence for consent in new],
        [consent.valid_until for consent in new],
        [consent.recorded_at for consent in new],
        [consent.recorded_by for consent in new],
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _address(customer: Customer) -> str | None:
    return customer.address.model_dump_json() if customer.address is not None else None
