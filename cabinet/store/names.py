"""What copies of the database are called, for who makes them and for who takes one to a stick. Pure."""

import re

# Numbered, so that their order is that of their making whatever the clock said: a computer without a battery has made
# backups in 1970 before. The first ones had no number.
_NAME = re.compile(r"cabinet-(?:(\d{6})-)?(\d{4}-\d{2}-\d{2})T\d{2}-\d{2}-\d{2}\.db", re.ASCII)


def is_backup(name: str) -> bool:
    """Whether a file of that name is one of ours."""
    return _NAME.fullmatch(name) is not None


def number(name: str) -> int:
    """Counted from 1; 0 of one without."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found is not None and found[1] else 0


def day(name: str) -> str:
    """As YYYY-MM-DD; empty of what is no backup."""
    found = _NAME.fullmatch(name)
    return "" if found is None else found[2]


def order(name: str) -> tuple[int, str]:
    """To sort by: that of their making."""
    return number(name), name
