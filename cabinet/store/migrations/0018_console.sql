-- Which rows of the console's own log are in the audit log already: the console sends again what it is not sure of.
CREATE TABLE console_entry (
    journal TEXT NOT NULL,
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL REFERENCES audit_entry (number),
    PRIMARY KEY (journal, seq)
) STRICT, WITHOUT ROWID;
