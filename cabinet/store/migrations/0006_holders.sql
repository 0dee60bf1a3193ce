-- The usage log names a resident by a random word that means nothing once the resident is erased: a record that is
-- chained can never be changed, so nothing personal may be in it.
ALTER TABLE resident ADD COLUMN holder TEXT;
UPDATE resident SET holder = lower(hex(randomblob(8)));
CREATE UNIQUE INDEX resident_by_holder ON resident (holder);
ALTER TABLE usage_record ADD COLUMN holder TEXT NOT NULL DEFAULT '';
CREATE INDEX usage_by_holder ON usage_record (holder);

-- The log up to the end of a month, signed: who keeps these finds out a log that was rewritten as a whole.
CREATE TABLE usage_closing (
    number INTEGER PRIMARY KEY,
    month TEXT NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL
) STRICT;
CREATE TRIGGER closing_stays BEFORE UPDATE ON usage_closing
BEGIN SELECT RAISE(ABORT, 'a closing is never changed'); END;
CREATE TRIGGER closing_kept BEFORE DELETE ON usage_closing
BEGIN SELECT RAISE(ABORT, 'a closing is never deleted'); END;
