"""File names of database backups, for making them and for copying one to a stick. Pure."""

import re

# The number gives the order of creation even if the clock was wrong: a computer without a clock battery has made
# backups dated 1970. The first backups had no number.
_NAME = re.compile(r"cabinet-(?:(\d{6})-)?(\d{4}-\d{2}-\d{2})T\d{2}-\d{2}-\d{2}\.db", re.ASCII)


def is_backup(name: str) -> bool:
    """Return whether a file of that name is a backup of this program."""
    return _NAME.fullmatch(name) is not None


def number(name: str) -> int:
    """Return the number of the backup, counted from 1; 0 if it has none."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found is not None and found[1] else 0


def day(name: str) -> str:
    """Return the day as YYYY-MM-DD; empty if the name is not of a backup."""
    found = _NAME.fullmatch(name)
    return "" if found is None else found[2]


def order(name: str) -> tuple[int, str]:
    """Return the sort key for the order of creation."""
    return number(name), name
