"""Owner of the database. One account writes it: a file that another account creates next to it locks the owner out."""

import os
import pwd
import stat
from pathlib import Path

from cabinet.errors import StoreError

SERVICE = "cabinet-service"  # account made by the package
_AS = "put before the command: sudo -u {}"
_BESIDE = ("", "-wal", "-shm")


def check_account(database: Path) -> None:
    """Raise StoreError if root is about to write files of another account.

    Changing their owner afterwards is not enough: root may already have written through a link made by that account.
    """
    if os.geteuid() != 0:
        return
    account = account_of(database)
    if account != "root":
        raise StoreError(f"{database}: belongs to {account}, whom files of root would lock out: {_AS.format(account)}")


def account_of(database: Path) -> str:
    """Return the account that writes the database: the owner of its folder, or of the file if root owns the folder.

    If root owns the folder and a group may write to it, as the package creates it, the account is never root.
    """
    folder, file = _found(database.parent), _found(database)
    if folder is not None and folder.st_uid != 0:
        return _named(folder.st_uid)
    if file is not None and file.st_uid != 0:
        return _named(file.st_uid)
    shared = folder is not None and folder.st_gid != 0 and folder.st_mode & stat.S_IWGRP
    return SERVICE if shared else "root"


def permission_problem(database: Path) -> str | None:
    """Return the path that this account may not write, and a remedy; None if it may, or if the disk is read-only."""
    try:
        if os.statvfs(database.parent).f_flag & os.ST_RDONLY:
            return None
    except OSError:
        return None
    for path in [database.with_name(database.name + ending) for ending in _BESIDE]:
        found = _found(path)
        if found is not None and not os.access(path, os.R_OK | os.W_OK):
            return _remedy(database, path, found)
    if not os.access(database.parent, os.W_OK | os.X_OK):
        account, ours = account_of(database), _named(os.geteuid())
        remedy = "look at its owner and mode" if account in (ours, "root") else _AS.format(account)
        return f"{database.parent}: {ours} may not write there: {remedy}"
    return None


def _remedy(database: Path, path: Path, found: os.stat_result) -> str:
    account, ours = account_of(database), _named(os.geteuid())
    if account != ours:
        return f"{path}: {ours} may not write it: {_AS.format(account)}"
    if found.st_uid == os.geteuid():
        return f"{path}: {ours} may not write it: chmod 600 {path}"
    return f"{path}: belongs to {_named(found.st_uid)}, {ours} may not write it: sudo chown {ours}: {path}"


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _named(uid: int) -> str:
    """Return the account name as sudo and chown accept it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
