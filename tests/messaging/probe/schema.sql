CREATE TABLE counter (
    id uuid PRIMARY KEY,
    total bigint NOT NULL,
    version bigint NOT NULL,
    text text NOT NULL CHECK (text <> 'forbidden')
);
CREATE TABLE entry (
    id uuid PRIMARY KEY,
    counter_id uuid NOT NULL,
    amount bigint NOT NULL
);
CREATE TABLE copy (
    counter_id uuid PRIMARY KEY,
    total bigint NOT NULL,
    version bigint NOT NULL
);
