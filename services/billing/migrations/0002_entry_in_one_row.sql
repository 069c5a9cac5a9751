-- An entry and its postings become one row: a column for each account of the chart. What was four rows and a trigger is
-- one row and a constraint. Invoices keep their documents as json, and find a number by what differs most.

ALTER TABLE ledger_entry
    ADD COLUMN receivable bigint NOT NULL DEFAULT 0,
    ADD COLUMN revenue bigint NOT NULL DEFAULT 0,
    ADD COLUMN tax_payable bigint NOT NULL DEFAULT 0,
    ADD COLUMN cash bigint NOT NULL DEFAULT 0,
    ADD COLUMN customer_credit bigint NOT NULL DEFAULT 0;

ALTER TABLE ledger_entry DISABLE TRIGGER append_only;
UPDATE ledger_entry AS e
SET receivable = p.receivable, revenue = p.revenue, tax_payable = p.tax_payable, cash = p.cash,
    customer_credit = p.customer_credit
FROM (
    SELECT entry_id,
        coalesce(sum(amount) FILTER (WHERE ledger_account = 'receivable'), 0) AS receivable,
        coalesce(sum(amount) FILTER (WHERE ledger_account = 'revenue'), 0) AS revenue,
        coalesce(sum(amount) FILTER (WHERE ledger_account = 'tax_payable'), 0) AS tax_payable,
        coalesce(sum(amount) FILTER (WHERE ledger_account = 'cash'), 0) AS cash,
        coalesce(sum(amount) FILTER (WHERE ledger_account = 'customer_credit'), 0) AS customer_credit
    FROM ledger_posting GROUP BY entry_id
) AS p
WHERE p.entry_id = e.id;
ALTER TABLE ledger_entry ENABLE TRIGGER append_only;

ALTER TABLE ledger_entry
    ADD CONSTRAINT ledger_entry_balances CHECK (receivable + revenue + tax_payable + cash + customer_credit = 0),
    ADD CONSTRAINT ledger_entry_posts CHECK (receivable <> 0 OR revenue <> 0 OR tax_payable <> 0 OR cash <> 0);

DROP TABLE ledger_posting;
DROP FUNCTION refuse_unbalanced();

-- The same as rows of their own: what is zero is not posted.
CREATE VIEW ledger_posting AS
SELECT e.id AS entry_id, p.ledger_account, p.amount
FROM ledger_entry AS e
CROSS JOIN LATERAL (
    VALUES ('receivable', e.receivable), ('revenue', e.revenue), ('tax_payable', e.tax_payable), ('cash', e.cash),
        ('customer_credit', e.customer_credit)
) AS p (ledger_account, amount)
WHERE p.amount <> 0;

REVOKE INSERT, UPDATE, DELETE ON ledger_posting FROM billing;

DROP TRIGGER issued_invoice_never_changes ON invoice;
ALTER TABLE invoice ALTER COLUMN lines TYPE json USING lines::json, ALTER COLUMN bill_to TYPE json USING bill_to::json;
CREATE TRIGGER issued_invoice_never_changes BEFORE UPDATE ON invoice FOR EACH ROW
    WHEN (old.status <> 'draft' AND (
        old.id, old.customer_id, old.currency, old.lines::text, old.net, old.tax, old.total, old.account_id,
        old.legal_entity, old.year, old.lane, old.number, old.printed, old.issued_on, old.due_on, old.bill_to::text
    ) IS DISTINCT FROM (
        new.id, new.customer_id, new.currency, new.lines::text, new.net, new.tax, new.total, new.account_id,
        new.legal_entity, new.year, new.lane, new.number, new.printed, new.issued_on, new.due_on, new.bill_to::text
    ))
    EXECUTE FUNCTION refuse_change_of_issued();

DROP INDEX invoice_number;
CREATE UNIQUE INDEX invoice_number ON invoice (number, lane, year, legal_entity);
