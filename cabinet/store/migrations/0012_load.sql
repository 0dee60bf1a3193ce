-- Mean and highest load of the whole cabinet in steps of five minutes, for some months: see store/load.py.
CREATE TABLE load_sample (
    start_unix_s INTEGER PRIMARY KEY,
    mean_mw INTEGER NOT NULL,
    peak_mw INTEGER NOT NULL,
    limit_mw INTEGER
) STRICT;
