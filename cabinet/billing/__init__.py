"""Money: tariffs and their files, price arithmetic, the ledger's rules, the session's state table."""
