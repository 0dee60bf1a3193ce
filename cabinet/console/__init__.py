"""The maintenance console: accounts, shell, terminals, and the clients of guard, service and steward."""
