-- Who waits for power, in the order of `number`. `choice_amount` is in seconds for hours and in fen for an amount.
-- `since` is a moment as JSON; `attempts` counts the starts made for this entry, each of them a request of its own.
-- With an `outcome` (why it came to nothing) the entry is in the line no more and only waits to be read.

CREATE TABLE waiting (
    number INTEGER PRIMARY KEY,
    resident_id INTEGER NOT NULL UNIQUE REFERENCES resident (id) ON DELETE CASCADE,
    outlet INTEGER NOT NULL,
    code TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('full', 'hours', 'amount')),
    choice_amount INTEGER NOT NULL,
    since TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    outcome TEXT
) STRICT;

CREATE UNIQUE INDEX one_waits_an_outlet ON waiting (outlet) WHERE outcome IS NULL;
