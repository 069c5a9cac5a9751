-- Payroll's database: copies of what HR says, the rules, runs with their payslips, the books and the reports.
-- Amounts are minor units (bigint, within 10^15).

-- Who pays.
CREATE TABLE legal_entity (
    code text PRIMARY KEY,
    zone text NOT NULL
);
INSERT INTO legal_entity VALUES ('main', 'Europe/Vienna');

-- The rules: data, by country, currency and the first day on which they hold. The newest one counts that does not begin
-- after a month's first day. What is here are examples to start with: an operator adds rows, and changes none.
CREATE TABLE tax_bracket (
    country text NOT NULL,
    currency text NOT NULL,
    valid_from date NOT NULL,
    floor bigint NOT NULL CHECK (floor >= 0),                       -- minor units a month
    basis_points integer NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    PRIMARY KEY (country, currency, valid_from, floor)
);

CREATE TABLE social_contribution (
    country text NOT NULL,
    currency text NOT NULL,
    valid_from date NOT NULL,
    code text NOT NULL,
    basis_points integer NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    ceiling bigint CHECK (ceiling >= 0),                            -- minor units a month; null: none
    PRIMARY KEY (country, currency, valid_from, code)
);

CREATE TABLE working_time (
    country text NOT NULL,
    valid_from date NOT NULL,
    minutes_per_month integer NOT NULL CHECK (minutes_per_month > 0),
    PRIMARY KEY (country, valid_from)
);

-- 10 % up to 100, 20 % up to 200, 30 % above, in units of each currency that are worth about as much.
INSERT INTO tax_bracket
SELECT place.country, place.currency, '1900-01-01', step.floor * place.unit, step.basis_points
FROM (
    SELECT country, 'EUR' AS currency, 100 AS unit
    FROM unnest('{AT,BE,BG,CY,DE,EE,ES,FI,FR,GR,HR,IE,IT,LT,LU,LV,MT,NL,PT,SI,SK}'::text[]) AS country
    UNION ALL
    VALUES ('CH', 'CHF', 100), ('GB', 'GBP', 100), ('US', 'USD', 100), ('CA', 'CAD', 100), ('AU', 'AUD', 100),
        ('PL', 'PLN', 400), ('RO', 'RON', 500), ('CZ', 'CZK', 2500), ('DK', 'DKK', 750), ('SE', 'SEK', 1000),
        ('NO', 'NOK', 1000), ('HU', 'HUF', 40000), ('JP', 'JPY', 150)
) AS place
CROSS JOIN (VALUES (0, 1000), (100, 2000), (200, 3000)) AS step (floor, basis_points);

INSERT INTO social_contribution VALUES
    ('AT', 'EUR', '1900-01-01', 'pension-insurance', 1025, 645000),
    ('AT', 'EUR', '1900-01-01', 'health-insurance', 387, 645000),
    ('AT', 'EUR', '1900-01-01', 'unemployment-insurance', 295, 645000),
    ('DE', 'EUR', '1900-01-01', 'pension-insurance', 930, 805000),
    ('DE', 'EUR', '1900-01-01', 'health-insurance', 855, 551250),
    ('DE', 'EUR', '1900-01-01', 'unemployment-insurance', 130, 805000),
    ('CH', 'CHF', '1900-01-01', 'old-age-insurance', 530, NULL),
    ('CH', 'CHF', '1900-01-01', 'unemployment-insurance', 110, 1235000);

-- 40 hours a week: 40 x 60 x 52 / 12 minutes.
INSERT INTO working_time SELECT DISTINCT country, date '1900-01-01', 10400 FROM tax_bracket;

-- A copy from hr.events, and the root of all that is paid to somebody. A detail that is null was not told yet; beside
-- each stands the version of the employee in which HR told it.
CREATE TABLE employee (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    source_version bigint NOT NULL,     -- of the newest fact of any kind
    source_time timestamptz,
    currency text,
    currency_version bigint,
    country text,
    country_version bigint,
    department text,
    department_version bigint,
    payment_token text,
    payment_token_version bigint
);
CREATE INDEX employee_by_currency ON employee (currency, id);

CREATE TABLE employment (
    employee_id uuid NOT NULL,
    source_version bigint NOT NULL,
    joins boolean NOT NULL,             -- day is the first that is paid; otherwise the last one
    day date NOT NULL,
    PRIMARY KEY (employee_id, source_version)
);

CREATE TABLE salary (
    employee_id uuid NOT NULL,
    source_version bigint NOT NULL,
    effective_from date NOT NULL,
    monthly bigint NOT NULL CHECK (monthly > 0),
    PRIMARY KEY (employee_id, source_version)
);

CREATE TABLE absence (
    employee_id uuid NOT NULL,
    absence_id uuid NOT NULL,
    source_version bigint NOT NULL,
    starts_on date NOT NULL,
    ends_on date NOT NULL CHECK (ends_on >= starts_on),
    is_paid boolean NOT NULL,
    PRIMARY KEY (employee_id, absence_id)
);

CREATE TABLE overtime (
    employee_id uuid NOT NULL,
    overtime_id uuid NOT NULL,
    source_version bigint NOT NULL,
    worked_on date NOT NULL,
    minutes integer NOT NULL CHECK (minutes > 0),
    rate_basis_points integer NOT NULL CHECK (rate_basis_points > 0),
    payslip_id uuid,                    -- ours: the one that pays it
    PRIMARY KEY (employee_id, overtime_id)
);
CREATE INDEX overtime_open ON overtime (employee_id) WHERE payslip_id IS NULL;

CREATE TABLE advance (
    employee_id uuid NOT NULL,
    advance_id uuid NOT NULL,
    source_version bigint NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    granted_on date NOT NULL,
    deducted bigint NOT NULL DEFAULT 0 CHECK (deducted >= 0),   -- ours: what payslips have taken
    PRIMARY KEY (employee_id, advance_id)
);
CREATE INDEX advance_open ON advance (employee_id) WHERE deducted < amount;

CREATE TABLE payroll_run (
    id uuid PRIMARY KEY,
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    currency text NOT NULL,
    staff_group text,
    legal_entity text NOT NULL REFERENCES legal_entity (code),
    started_by text NOT NULL,
    approved_by text CHECK (approved_by <> started_by),
    state text NOT NULL CHECK (state IN ('calculating', 'calculated', 'paying', 'completed')),
    version bigint NOT NULL,
    guard bigint NOT NULL,
    employees integer NOT NULL,
    skipped integer NOT NULL,
    gross bigint NOT NULL,
    withholdings bigint NOT NULL,
    deductions bigint NOT NULL,
    net bigint NOT NULL,
    nothing_due integer NOT NULL,
    paid integer NOT NULL,
    failed integer NOT NULL,
    paid_amount bigint NOT NULL,
    failed_amount bigint NOT NULL,
    CHECK (gross = net + withholdings + deductions),
    CHECK (nothing_due + paid + failed <= employees),
    CHECK (paid_amount + failed_amount <= net),
    CHECK (state <> 'paying' OR approved_by IS NOT NULL)
);

-- One regular payslip per employee and month, whatever the runs: the natural key that keeps a salary from being paid twice.
CREATE TABLE payslip (
    id uuid PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES payroll_run (id),
    employee_id uuid NOT NULL,
    month date NOT NULL,
    kind text NOT NULL DEFAULT 'regular' CHECK (kind = 'regular'),
    currency text NOT NULL,
    country text NOT NULL,
    department text NOT NULL,
    gross bigint NOT NULL CHECK (gross >= 0),
    withholdings bigint NOT NULL CHECK (withholdings >= 0),
    deductions bigint NOT NULL CHECK (deductions >= 0),
    net bigint NOT NULL CHECK (net >= 0),
    state text NOT NULL CHECK (state IN ('calculated', 'nothing_due', 'paying', 'unknown', 'paid', 'failed')),
    version bigint NOT NULL,
    attempt integer NOT NULL,
    payment_reference text,
    paid_on date,
    failure_code text,
    failure_reason text,
    CHECK (gross = net + withholdings + deductions),
    CHECK ((state = 'nothing_due') = (net = 0)),
    CHECK ((state = 'paid') = (payment_reference IS NOT NULL)),
    CHECK ((state = 'paid') = (paid_on IS NOT NULL)),
    UNIQUE (employee_id, month, kind),
    UNIQUE (run_id, employee_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX payslip_page ON payslip (run_id, id);

CREATE TABLE payslip_component (
    payslip_id uuid NOT NULL REFERENCES payslip (id),
    line integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('earning', 'withholding', 'deduction')),
    code text NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    starts_on date NOT NULL,
    ends_on date NOT NULL CHECK (ends_on >= starts_on),
    source_id uuid,
    PRIMARY KEY (payslip_id, line)
);

-- Employees who have no payslip in a run, and why.
CREATE TABLE skipped_employee (
    run_id uuid NOT NULL REFERENCES payroll_run (id),
    employee_id uuid NOT NULL,
    code text NOT NULL,
    payslip_id uuid,
    PRIMARY KEY (run_id, employee_id)
);

CREATE TABLE report (
    id uuid PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES payroll_run (id),
    media_type text NOT NULL,
    content bytea NOT NULL,
    sha256 text NOT NULL CHECK (sha256 = encode(sha256(content), 'hex')),
    rows integer NOT NULL,
    generated_at timestamptz NOT NULL
);
CREATE INDEX report_by_run ON report (run_id, generated_at);

-- The books: double entry by run and department, append-only.
CREATE TABLE ledger_entry (
    id uuid PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES payroll_run (id),
    department text NOT NULL,
    currency text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('accrual', 'payment')),
    business_on date NOT NULL,
    booked_at timestamptz NOT NULL DEFAULT transaction_timestamp()
);
CREATE INDEX ledger_entry_by_run ON ledger_entry (run_id, department);

CREATE TABLE ledger_posting (
    entry_id uuid NOT NULL REFERENCES ledger_entry (id),
    account text NOT NULL CHECK (account IN (
        'wages_expense', 'income_tax_payable', 'social_contributions_payable', 'staff_advances', 'wages_payable', 'bank'
    )),
    amount bigint NOT NULL CHECK (amount <> 0),                 -- a debit is positive, a credit negative
    PRIMARY KEY (entry_id, account)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: book another entry instead', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

-- Checked at commit, so that an entry may be written in any order. One look per statement's entries is enough.
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT coalesce(sum(amount), 1) FROM ledger_posting WHERE entry_id = NEW.id) <> 0 THEN
        RAISE EXCEPTION 'ledger entry % does not balance', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- Postings come in the transaction of their entry or not at all: what was balanced at commit stays so.
CREATE FUNCTION refuse_later_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added JOIN ledger_entry AS e ON e.id = added.entry_id WHERE e.booked_at <> transaction_timestamp()
    ) THEN
        RAISE EXCEPTION 'a ledger entry is complete when it is booked' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced();
CREATE TRIGGER complete AFTER INSERT ON ledger_posting
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_later_posting();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_posting
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON report
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payslip_component
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A payslip's amounts never change, only its payment does; and no row of a run ever goes.
REVOKE UPDATE, DELETE ON payslip FROM payroll;
GRANT UPDATE (state, version, attempt, payment_reference, paid_on, failure_code, failure_reason) ON payslip TO payroll;
REVOKE DELETE ON payroll_run, skipped_employee FROM payroll;
REVOKE UPDATE, DELETE ON ledger_entry, ledger_posting, report, payslip_component FROM payroll;
REVOKE INSERT, UPDATE, DELETE ON legal_entity, tax_bracket, social_contribution, working_time FROM payroll;
