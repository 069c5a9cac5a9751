"""Loyalty and segments."""

from collections.abc import Sequence
from uuid import UUID

from services.customer.domain.loyalty import LoyaltyAccount, LoyaltyEntry
from services.customer.domain.segments import Membership
from shared.messaging.database import Tx, expect_rows
from shared.messaging.working_set import Changed


async def accounts(tx: Tx, customer_ids: Sequence[UUID]) -> list[LoyaltyAccount]:
    rows = await tx.fetch("SELECT * FROM loyalty_account WHERE customer_id = ANY ($1::uuid[])", customer_ids)
    return [LoyaltyAccount(**row) for row in rows]


async def insert_accounts(tx: Tx, new: Sequence[LoyaltyAccount]) -> None:
    await tx.execute(
        """
        INSERT INTO loyalty_account (customer_id, points, version)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])
        """,
        [account.customer_id for account in new],
        [account.points for account in new],
        [account.version for account in new],
    )


async def update_accounts(tx: Tx, changed: Sequence[Changed[LoyaltyAccount]]) -> None:
    status = await tx.execute(
        """
        UPDATE loyalty_account AS a SET points = u.points, version = u.version
        FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS u (customer_id, loaded, points, version)
        WHERE a.customer_id = u.customer_id AND a.version = u.loaded
        """,
        [each.after.customer_id for each in changed],
        [each.before.version for each in changed],
        [each.after.points for each in changed],
        [each.after.version for each in changed],
    )
    expect_rows(status, len(changed))


async def entries(tx: Tx, payment_ids: Sequence[UUID], newcomers: Sequence[UUID]) -> list[LoyaltyEntry]:
    """The entries of these payments, and those that wait for these customers to be registered."""
    rows = await tx.fetch(
        """
        SELECT * FROM loyalty_entry WHERE payment_id = ANY ($1::uuid[])
        UNION
        SELECT * FROM loyalty_entry WHERE customer_id = ANY ($2::uuid[]) AND version IS NULL
        """,
        payment_ids,
        newcomers,
    )
    return [LoyaltyEntry(**row) for row in rows]


async def insert_entries(tx: Tx, new: Sequence[LoyaltyEntry]) -> None:
    await tx.execute(
        """
        INSERT INTO loyalty_entry (payment_id, customer_id, points, rule_version, earned_at, version)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::integer[], $5::timestamptz[], $6::bigint[])
        """,
        [entry.payment_id for entry in new],
        [entry.customer_id for entry in new],
        [entry.points for entry in new],
        [entry.rule_version for entry in new],
        [entry.earned_at for entry in new],
        [entry.version for entry in new],
    )


async def announce_entries(tx: Tx, changed: Sequence[Changed[LoyaltyEntry]]) -> None:
    """The one change there is: an entry that waited has been told of."""
    status = await tx.execute(
        """
        UPDATE loyalty_entry AS e SET points = u.points, version = u.version
        FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (payment_id, points, version)
        WHERE e.payment_id = u.payment_id AND e.version IS NULL
        """,
        [each.after.payment_id for each in changed],
        [each.after.points for each in changed],
        [each.after.version for each in changed],
    )
    expect_rows(status, len(changed))


async def memberships(tx: Tx, customer_ids: Sequence[UUID]) -> list[Membership]:
    rows = await tx.fetch("SELECT * FROM segment_membership WHERE customer_id = ANY ($1::uuid[])", customer_ids)
    return [Membership(**row) for row in rows]


async def insert_memberships(tx: Tx, new: Sequence[Membership]) -> None:
    await tx.execute(
        """
        INSERT INTO segment_membership (customer_id, segment, is_member, rule_version, version, changed_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::integer[], $5::bigint[], $6::timestamptz[])
        """,
        [each.customer_id for each in new],
        [each.segment for each in new],
        [each.is_member for each in new],
        [each.rule_version for each in new],
        [each.version for each in new],
        [each.changed_at for each in new],
    )


async def update_memberships(tx: Tx, changed: Sequence[Changed[Membership]]) -> None:
    after = [each.after for each in changed]
    status = await tx.execute(
        """
        UPDATE segment_membership AS m
        SET is_member = u.is_member, rule_version = u.rule_version, version = u.version, changed_at = u.changed_at
        FROM unnest(
            $1::uuid[], $2::text[], $3::bigint[], $4::boolean[], $5::integer[], $6::bigint[], $7::timestamptz[]
        ) AS u (customer_id, segment, loaded, is_member, rule_version, version, changed_at)
        WHERE m.customer_id = u.customer_id AND m.segment = u.segment AND m.version = u.loaded
        """,
        [each.customer_id for each in after],
        [each.segment for each in after],
        [each.before.version for each in changed],
        [each.is_member for each in after],
        [each.rule_version for each in after],
        [each.version for each in after],
        [each.changed_at for each in after],
    )
    expect_rows(status, len(changed))
