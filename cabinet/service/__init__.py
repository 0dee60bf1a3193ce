"""The process for sessions, money, accounts and housekeeping, and its interfaces to pages and console."""
