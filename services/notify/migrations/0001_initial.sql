-- notify's own tables. The kit's are in schema `messaging`.

-- The root: whom something can be said to. A copy of customer.profiles and hr.events, as of source_version; `bounces`
-- alone is ours. status `unknown`: something waits for somebody whose profile has not arrived.
CREATE TABLE recipient (
    id uuid PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('unknown', 'active', 'inactive', 'erased')),
    kind text CHECK (kind IN ('customer', 'employee')),
    name text NOT NULL,
    locale text,
    zone text,
    preferred jsonb NOT NULL,           -- channels, the best first
    addresses jsonb NOT NULL,           -- [{channel, value, purpose, verified, invalid, opted_out}]
    consents jsonb NOT NULL,            -- {purpose: {granted, valid_until}}
    bounces jsonb NOT NULL,             -- [{channel, value, reason}]
    source_version bigint NOT NULL CHECK (source_version >= 0),
    source_time timestamptz
);

-- One for each cause and template. `version` counts its events, `steps` its decision record. fields and tried may hold
-- personal data, and are empty once nothing is left to be done.
CREATE TABLE notification (
    id uuid PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    recipient_id uuid NOT NULL,
    template text NOT NULL,
    category text NOT NULL CHECK (category IN ('security', 'transactional', 'service', 'marketing')),
    cause_source text NOT NULL,
    cause_id text NOT NULL,
    cause_type text NOT NULL,
    cause_time timestamptz NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz,
    fields jsonb NOT NULL,
    locale text,
    only_channels jsonb,                -- the only channels that were asked for; null: by preference
    state text NOT NULL CHECK (state IN ('deferred', 'sending', 'unknown', 'sent', 'suppressed', 'failed')),
    reason text,                        -- why suppressed or failed
    channel text CHECK (channel IN ('email', 'sms', 'in_app')),
    message_id text,
    tried jsonb NOT NULL,               -- [[channel, address]], in order
    steps integer NOT NULL,
    version bigint NOT NULL,
    UNIQUE (cause_source, cause_id, template),
    CHECK ((state = 'sent') <= (message_id IS NOT NULL AND channel IS NOT NULL)),
    CHECK ((state IN ('suppressed', 'failed')) = (reason IS NOT NULL))
);
CREATE INDEX notification_of_recipient ON notification (recipient_id, seq);
CREATE INDEX notification_open ON notification (recipient_id, seq) WHERE state IN ('deferred', 'sending', 'unknown');

-- The decision record: why somebody did or did not get something. Codes, never personal data.
CREATE TABLE step (
    notification_id uuid NOT NULL,
    n integer NOT NULL,
    at timestamptz NOT NULL,
    verdict text NOT NULL,
    channel text,
    reasons jsonb NOT NULL,             -- ["consent:granted", "email:bounced-no-such-address", "sms:chosen"]
    PRIMARY KEY (notification_id, n)
);

-- What was said, word for word; sha256 is of text and html. Deleted 30 days
-- after rendered_at, and at erasure.
CREATE TABLE letter (
    notification_id uuid PRIMARY KEY,
    recipient_id uuid NOT NULL,
    language text NOT NULL,
    subject text NOT NULL,
    text text NOT NULL,
    html text NOT NULL,
    short text NOT NULL,
    sha256 text NOT NULL,
    rendered_at timestamptz NOT NULL
);
CREATE INDEX letter_of_recipient ON letter (recipient_id);
CREATE INDEX letter_rendered ON letter (rendered_at);
