-- What customer keeps. Every row hangs on a party: its row is locked before anything about it is read or written.

-- The root: one row per Kafka key. `unknown` while facts wait for a registration.
CREATE TABLE party (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('unknown', 'customer', 'employee'))
);

CREATE TABLE customer (
    id uuid PRIMARY KEY REFERENCES party (id),
    version bigint NOT NULL CHECK (version >= 1),   -- events of customer/{id} published so far
    kind text NOT NULL CHECK (kind IN ('person', 'organisation')),
    status text NOT NULL CHECK (status IN ('active', 'inactive')),
    name text NOT NULL,
    locale text NOT NULL,
    country text NOT NULL,
    zone text NOT NULL,
    birth_date date,
    tax_id text,
    address jsonb,
    attributes jsonb NOT NULL,
    preferred_channels jsonb NOT NULL,              -- the best first
    registered_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE TABLE contact_point (
    customer_id uuid NOT NULL REFERENCES customer (id),
    id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('email', 'sms')),
    value text,                                     -- forgotten when removed
    purpose text NOT NULL,
    verified boolean NOT NULL,
    added_at timestamptz NOT NULL,
    removed_at timestamptz,
    PRIMARY KEY (customer_id, id),
    CHECK ((value IS NULL) = (removed_at IS NOT NULL))
);

CREATE TABLE customer_tag (
    customer_id uuid NOT NULL REFERENCES customer (id),
    tag text NOT NULL,
    tagged_at timestamptz NOT NULL,
    tagged_by text NOT NULL,
    untagged_at timestamptz,
    PRIMARY KEY (customer_id, tag)
);
CREATE INDEX customer_tag_current ON customer_tag (tag, customer_id) WHERE untagged_at IS NULL;

-- The whole history: the highest version of a purpose is what counts.
CREATE TABLE consent (
    customer_id uuid NOT NULL REFERENCES customer (id),
    version bigint NOT NULL,                        -- the customer's
    purpose text NOT NULL,
    status text NOT NULL CHECK (status IN ('granted', 'withdrawn')),
    legal_basis text NOT NULL,
    policy_version text NOT NULL,
    evidence text,
    valid_until date,
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    PRIMARY KEY (customer_id, version)
);
CREATE INDEX consent_of_purpose ON consent (customer_id, purpose, version DESC);
REVOKE UPDATE ON consent FROM customer;

CREATE TABLE note (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customer (id),
    text text NOT NULL,
    pinned boolean NOT NULL,
    written_by text NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX note_of_customer ON note (customer_id, recorded_at);

CREATE TABLE interaction (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customer (id),
    kind text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    occurred_at timestamptz NOT NULL,
    summary text NOT NULL,
    written_by text NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX interaction_of_customer ON interaction (customer_id, occurred_at);

CREATE TABLE feedback (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customer (id),
    kind text NOT NULL CHECK (kind IN ('csat', 'nps')),
    score smallint NOT NULL CHECK (score BETWEEN 0 AND 10),
    text text,
    ticket_id uuid,
    purchase_id uuid,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX feedback_of_customer ON feedback (customer_id, recorded_at);

CREATE TABLE ticket (
    id uuid PRIMARY KEY,
    version bigint NOT NULL CHECK (version >= 1),
    requester_id uuid NOT NULL REFERENCES party (id),
    requester_kind text NOT NULL CHECK (requester_kind IN ('customer', 'employee')),
    category text NOT NULL,
    subject_line text NOT NULL,
    text text NOT NULL,
    priority text NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    status text NOT NULL CHECK (status IN ('open', 'resolved', 'closed')),
    resolution text,
    opened_by text NOT NULL,
    opened_at timestamptz NOT NULL,
    changed_at timestamptz,
    payslip_id uuid UNIQUE,                         -- one ticket for each salary that was not paid
    payslip_version bigint,
    CHECK ((payslip_id IS NULL) = (payslip_version IS NULL))
);
CREATE INDEX ticket_of_requester ON ticket (requester_id, opened_at);

-- Copies of what others said. One entry per kind and thing; a higher version replaces it.
CREATE TABLE timeline (
    id uuid NOT NULL,
    party_id uuid NOT NULL,
    kind text NOT NULL,
    reference uuid NOT NULL,
    at timestamptz NOT NULL,
    amount bigint,                                  -- minor units
    currency text,
    details jsonb NOT NULL,
    source text NOT NULL,                           -- the topic that told of it
    source_version bigint NOT NULL,
    PRIMARY KEY (party_id, kind, reference)
);
CREATE INDEX timeline_in_order ON timeline (party_id, id DESC);

CREATE TABLE account_balance (
    account_id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    currency text NOT NULL,
    outstanding bigint NOT NULL,
    credit bigint NOT NULL,
    source_version bigint NOT NULL,
    source_time timestamptz NOT NULL
);
CREATE INDEX account_balance_of_customer ON account_balance (customer_id);

CREATE TABLE paid_total (
    customer_id uuid NOT NULL,
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),     -- the sum of the timeline's payments received
    PRIMARY KEY (customer_id, currency)
);

CREATE TABLE salary_payment (
    payslip_id uuid PRIMARY KEY,
    employee_id uuid NOT NULL,
    run_id uuid NOT NULL,
    period text NOT NULL,
    currency text NOT NULL,
    net bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('calculated', 'unknown', 'paid', 'failed')),
    code text,
    payment_reference text,
    source_version bigint NOT NULL,
    source_time timestamptz NOT NULL
);
CREATE INDEX salary_payment_of_employee ON salary_payment (employee_id, payslip_id DESC);

-- Points: the history is the truth; the account is the sum of its entries that have a version.
CREATE TABLE loyalty_entry (
    payment_id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES party (id),
    points bigint NOT NULL CHECK (points > 0),
    rule_version integer NOT NULL,
    earned_at timestamptz NOT NULL,
    version bigint,                                 -- null while it waits for a registration
    UNIQUE (customer_id, version)
);
CREATE INDEX loyalty_entry_waiting ON loyalty_entry (customer_id) WHERE version IS NULL;

CREATE TABLE loyalty_account (
    customer_id uuid PRIMARY KEY REFERENCES customer (id),
    points bigint NOT NULL CHECK (points >= 0),
    version bigint NOT NULL CHECK (version >= 1)
);

CREATE TABLE segment_membership (
    customer_id uuid NOT NULL REFERENCES customer (id),
    segment text NOT NULL,
    is_member boolean NOT NULL,
    rule_version integer NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, segment)
);
CREATE INDEX segment_membership_current ON segment_membership (segment, customer_id) WHERE is_member;
