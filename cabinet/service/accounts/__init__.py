"""Residents, guests and staff: accounts, wallets, sign-in and its lockout."""
