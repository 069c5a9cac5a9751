-- What billing's database is. The kit's own tables are in the schema `messaging`.
--
-- No foreign keys on the hot tables: the customer's row lock guards all that is under it, rows are never deleted, and
-- the check of each row costs more than writing it. `account` has one, for it is written once in a customer's life.

-- The root of all that is billed to somebody, and a copy of what is printed on an invoice (from customer.profiles).
CREATE TABLE customer (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('unknown', 'known', 'erased')),
    bill_to jsonb CHECK ((bill_to IS NOT NULL) = (status = 'known')),  -- name, address_lines, country, tax_id
    source_version bigint NOT NULL,     -- of the profile; 0 before the first
    source_time timestamptz,
    drafts integer NOT NULL             -- how many invoices ever waited: the next one's place in the queue
) WITH (fillfactor = 80);

CREATE TABLE account (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customer (id),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    outstanding bigint NOT NULL CHECK (outstanding >= 0),
    credit bigint NOT NULL CHECK (credit >= 0),
    version bigint NOT NULL,
    UNIQUE (customer_id, currency)
) WITH (fillfactor = 50);               -- each invoice updates it in place

CREATE TABLE legal_entity (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z0-9]{1,20}$'),
    zone text NOT NULL,                 -- IANA: business dates are its dates
    lanes integer NOT NULL CHECK (lanes BETWEEN 1 AND 64),
    payment_terms_days integer NOT NULL CHECK (payment_terms_days BETWEEN 0 AND 365)
);
CREATE UNIQUE INDEX one_legal_entity ON legal_entity ((true));

-- Gapless: the next number is taken under the row's lock, in the transaction that issues the invoice.
CREATE TABLE number_series (
    legal_entity text NOT NULL REFERENCES legal_entity (code),
    year integer NOT NULL,
    lane integer NOT NULL,
    next_number bigint NOT NULL CHECK (next_number > 1),
    PRIMARY KEY (legal_entity, year, lane)
) WITH (fillfactor = 10);

CREATE TABLE tax_rate (
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    tax_class text NOT NULL,
    valid_from date NOT NULL,           -- until the next one of the same country and class
    basis_points integer NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    PRIMARY KEY (country, tax_class, valid_from)
);

CREATE TABLE invoice (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    currency text NOT NULL,
    cause_kind text NOT NULL CHECK (cause_kind IN ('purchase', 'booking', 'command')),
    cause_id uuid NOT NULL,
    ordered_at timestamptz NOT NULL,
    payment_token text,                 -- only while it waits
    lines json NOT NULL,                -- as InvoiceIssued tells them; json, which is stored faster than jsonb
    net bigint NOT NULL CHECK (net >= 0),
    tax bigint NOT NULL CHECK (tax >= 0),
    total bigint NOT NULL CHECK (total = net + tax),
    status text NOT NULL CHECK (status IN ('draft', 'issued', 'paid')),
    place integer,                      -- in the customer's queue of drafts
    account_id uuid,
    legal_entity text,
    year integer,
    lane integer,
    number bigint,
    printed text,
    issued_on date,
    due_on date,
    bill_to json,
    paid bigint NOT NULL CHECK (paid BETWEEN 0 AND total),
    version bigint NOT NULL,
    CHECK ((status = 'draft') = (place IS NOT NULL)),
    CHECK (num_nulls(account_id, legal_entity, year, lane, number, printed, issued_on, due_on, bill_to)
           = CASE WHEN status = 'draft' THEN 9 ELSE 0 END),
    CHECK ((status = 'paid') = (paid = total AND status <> 'draft'))
);
-- A cause is billed once, whatever ids its events had.
CREATE UNIQUE INDEX invoice_cause ON invoice (cause_id, cause_kind);
CREATE UNIQUE INDEX invoice_number ON invoice (number, lane, year, legal_entity); -- what differs most comes first
CREATE INDEX invoice_of_customer ON invoice (customer_id, id);
CREATE INDEX invoice_unpaid ON invoice (customer_id) WHERE status <> 'paid';

CREATE FUNCTION refuse_change_of_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an issued invoice never changes: only its payment does' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER issued_invoice_never_changes BEFORE UPDATE ON invoice FOR EACH ROW
    WHEN (old.status <> 'draft' AND (
        old.id, old.customer_id, old.currency, old.lines::text, old.net, old.tax, old.total, old.account_id,
        old.legal_entity, old.year, old.lane, old.number, old.printed, old.issued_on, old.due_on, old.bill_to::text
    ) IS DISTINCT FROM (
        new.id, new.customer_id, new.currency, new.lines::text, new.net, new.tax, new.total, new.account_id,
        new.legal_entity, new.year, new.lane, new.number, new.printed, new.issued_on, new.due_on, new.bill_to::text
    ))
    EXECUTE FUNCTION refuse_change_of_issued();

CREATE TABLE payment (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    account_id uuid NOT NULL,
    invoice_id uuid,                    -- that it is meant for
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    method text NOT NULL CHECK (method IN ('gateway', 'transfer')),
    state text NOT NULL CHECK (state IN ('pending', 'unknown', 'received', 'failed')),
    received_on date CHECK ((received_on IS NOT NULL) = (state = 'received')),
    reference text,
    failure_code text CHECK ((failure_code IS NOT NULL) = (state = 'failed')),
    credit bigint NOT NULL CHECK (credit BETWEEN 0 AND amount),
    version bigint NOT NULL
);
CREATE UNIQUE INDEX payment_in_flight ON payment (invoice_id) WHERE state IN ('pending', 'unknown');
CREATE INDEX payment_of_invoice ON payment (invoice_id);

-- The ledger: one row is one entry with all its postings, a column for each account of the chart, in minor units. Debits
-- are positive, credits negative; they sum to zero, and nothing ever changes.
CREATE TABLE ledger_entry (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    currency text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('invoice', 'payment', 'credit_used')),
    business_on date NOT NULL,
    invoice_id uuid,
    payment_id uuid,
    recorded_at timestamptz NOT NULL DEFAULT transaction_timestamp(),
    receivable bigint NOT NULL DEFAULT 0,
    revenue bigint NOT NULL DEFAULT 0,
    tax_payable bigint NOT NULL DEFAULT 0,
    cash bigint NOT NULL DEFAULT 0,
    customer_credit bigint NOT NULL DEFAULT 0,
    CONSTRAINT ledger_entry_balances CHECK (receivable + revenue + tax_payable + cash + customer_credit = 0),
    CONSTRAINT ledger_entry_posts CHECK (receivable <> 0 OR revenue <> 0 OR tax_payable <> 0 OR cash <> 0)
);
CREATE INDEX ledger_entry_of_account ON ledger_entry (account_id, business_on, id);

-- The same as rows of their own: what is zero is not posted.
CREATE VIEW ledger_posting AS
SELECT e.id AS entry_id, p.ledger_account, p.amount
FROM ledger_entry AS e
CROSS JOIN LATERAL (
    VALUES ('receivable', e.receivable), ('revenue', e.revenue), ('tax_payable', e.tax_payable), ('cash', e.cash),
        ('customer_credit', e.customer_credit)
) AS p (ledger_account, amount)
WHERE p.amount <> 0;

-- The part of an entry (a payment, or credit that is used) that pays an invoice.
CREATE TABLE allocation (
    entry_id uuid NOT NULL,
    invoice_id uuid NOT NULL,
    payment_id uuid,                    -- null: from credit
    amount bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (entry_id, invoice_id)
);
CREATE INDEX allocation_of_invoice ON allocation (invoice_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: correct an entry by another one', tg_table_name
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON allocation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON ledger_entry, allocation FROM billing;
REVOKE INSERT, UPDATE, DELETE ON ledger_posting FROM billing;
REVOKE INSERT, UPDATE, DELETE ON legal_entity, tax_rate FROM billing;

INSERT INTO legal_entity (code, zone, lanes, payment_terms_days) VALUES ('KELLO', 'Europe/Vienna', 1, 14);

-- VAT, in basis points. `zero` is for what is exempt or taxed elsewhere (reverse charge, export).
INSERT INTO tax_rate (country, tax_class, valid_from, basis_points) VALUES
    ('AT', 'standard', '1984-01-01', 2000), ('AT', 'reduced', '1984-01-01', 1000), ('AT', 'zero', '1973-01-01', 0),
    ('BE', 'standard', '1996-01-01', 2100), ('BE', 'reduced', '1996-01-01', 600), ('BE', 'zero', '1971-01-01', 0),
    ('CH', 'standard', '2018-01-01', 770), ('CH', 'reduced', '2018-01-01', 250), ('CH', 'zero', '1995-01-01', 0),
    ('CH', 'standard', '2024-01-01', 810), ('CH', 'reduced', '2024-01-01', 260),
    ('CZ', 'standard', '2013-01-01', 2100), ('CZ', 'reduced', '2013-01-01', 1500), ('CZ', 'zero', '1993-01-01', 0),
    ('CZ', 'reduced', '2024-01-01', 1200),
    ('DE', 'standard', '2007-01-01', 1900), ('DE', 'reduced', '1983-07-01', 700), ('DE', 'zero', '1968-01-01', 0),
    ('DE', 'standard', '2020-07-01', 1600), ('DE', 'reduced', '2020-07-01', 500),
    ('DE', 'standard', '2021-01-01', 1900), ('DE', 'reduced', '2021-01-01', 700),
    ('DK', 'standard', '1992-01-01', 2500), ('DK', 'zero', '1967-07-03', 0),
    ('EE', 'standard', '2009-07-01', 2000), ('EE', 'reduced', '2009-01-01', 900), ('EE', 'zero', '1991-01-10', 0),
    ('EE', 'standard', '2024-01-01', 2200), ('EE', 'standard', '2025-07-01', 2400),
    ('ES', 'standard', '2012-09-01', 2100), ('ES', 'reduced', '2012-09-01', 1000), ('ES', 'zero', '1986-01-01', 0),
    ('FI', 'standard', '2013-01-01', 2400), ('FI', 'reduced', '2013-01-01', 1400), ('FI', 'zero', '1994-06-01', 0),
    ('FI', 'standard', '2024-09-01', 2550),
    ('FR', 'standard', '2014-01-01', 2000), ('FR', 'reduced', '2014-01-01', 550), ('FR', 'zero', '1968-01-01', 0),
    ('GB', 'standard', '2011-01-04', 2000), ('GB', 'reduced', '1997-09-01', 500), ('GB', 'zero', '1973-04-01', 0),
    ('HU', 'standard', '2012-01-01', 2700), ('HU', 'reduced', '2009-07-01', 500), ('HU', 'zero', '1988-01-01', 0),
    ('IE', 'standard', '2012-01-01', 2300), ('IE', 'reduced', '2003-01-01', 1350), ('IE', 'zero', '1972-11-01', 0),
    ('IE', 'standard', '2020-09-01', 2100), ('IE', 'standard', '2021-03-01', 2300),
    ('IT', 'standard', '2013-10-01', 2200), ('IT', 'reduced', '1995-02-24', 1000), ('IT', 'zero', '1973-01-01', 0),
    ('JP', 'standard', '2019-10-01', 1000), ('JP', 'reduced', '2019-10-01', 800), ('JP', 'zero', '1989-04-01', 0),
    ('NL', 'standard', '2012-10-01', 2100), ('NL', 'reduced', '2001-01-01', 600), ('NL', 'zero', '1969-01-01', 0),
    ('NL', 'reduced', '2019-01-01', 900),
    ('PL', 'standard', '2011-01-01', 2300), ('PL', 'reduced', '2011-01-01', 800), ('PL', 'zero', '1993-07-05', 0),
    ('SE', 'standard', '1990-07-01', 2500), ('SE', 'reduced', '1996-01-01', 1200), ('SE', 'zero', '1969-01-01', 0),
    ('SK', 'standard', '2011-01-01', 2000), ('SK', 'zero', '1993-01-01', 0), ('SK', 'standard', '2025-01-01', 2300);
