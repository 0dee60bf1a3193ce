-- Each time a backup was put in place of the file. Order numbers go on above all that may have been given out since it
-- was made: a receipt's number never stands for two charges.
CREATE TABLE restored (
    id INTEGER PRIMARY KEY,
    unix_ms INTEGER NOT NULL,
    backup TEXT NOT NULL,
    first_number INTEGER NOT NULL
) STRICT;
