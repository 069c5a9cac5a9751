-- What operators did about dead letters. The letters themselves are on Kafka.

-- The end of a letter, written in the transaction of its replay: nobody replays it twice.
CREATE TABLE messaging.dead_letter_end (
    letter_id text PRIMARY KEY,
    outcome text NOT NULL CHECK (outcome IN ('replayed', 'dropped')),
    ended_by text NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    edit_number integer,                -- which edit was replayed; null: the letter as it came
    reason text                         -- why it was dropped
);

-- A letter mended by hand; the highest number is what a replay takes instead of what came.
CREATE TABLE messaging.dead_letter_edit (
    letter_id text NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    edited_by text NOT NULL,
    edited_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sha256 text NOT NULL,               -- of the value
    key bytea,                          -- key, value and headers may be personal: they are forgotten after 30 days
    value bytea,
    headers bytea,                      -- msgpack: [[name, value or nil], …]; null once forgotten
    PRIMARY KEY (letter_id, number)
);
