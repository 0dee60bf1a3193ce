"""Usage log and ledger as CSV and spreadsheets, their sums, and the reading of kept copies."""
