"""`cabinet store`: check the database, back it up, and restore it from a backup."""

import argparse
import contextlib
import sys
from pathlib import Path

from cabinet import config as configuration
from cabinet.clock import SystemClock
from cabinet.commands.options import AS_SERVICE, add_action
from cabinet.errors import CabinetError, StoreError
from cabinet.service.accounts import admin
from cabinet.store import backup, sessions
from cabinet.store.database import Database


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The service makes a backup at its start and every day; seven are kept in backups/ beside the database.\n"
        f"{backup.BEFORE_UPDATE} there is of `cabinet update`, and stays until the next update.\n"
        f"{AS_SERVICE}\n\n"
        "examples:\n"
        "  cabinet store check\n"
        "  cabinet store backup --to /media/usb/cabinet.db\n"
        "  cabinet store backup --into /media/cabinet-backup\n"
        "  cabinet store list\n"
        "  cabinet store restore newest    (systemctl stop cabinet-service before, and start afterwards)"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_action(actions, "check", "pages, references, ledger and usage log: whether all is whole")
    copy = add_action(actions, "backup", "a whole copy, made while the service runs")
    where = copy.add_mutually_exclusive_group()
    where.add_argument("--to", type=Path, metavar="FILE", help="(default: one more of the seven)")
    where.add_argument(
        "--into", type=Path, metavar="FOLDER", help="of another medium: with keys and configuration, seven are kept"
    )
    where.add_argument("--before-update", action="store_true", help="the one that going back from an update needs")
    add_action(actions, "running", "how many charges are not over yet, as a number")
    add_action(actions, "list", "the backups there are, and how far each goes")
    restore = add_action(
        actions, "restore", "put a backup in place of the database; what is there now is kept beside it"
    )
    restore.add_argument("backup", metavar="FILE", help="a backup, or: newest")


def main(args: argparse.Namespace) -> int:
    database = admin.database_path(configuration.load(args.config))
    if args.action == "restore":
        _restore(database, args.backup)
        return 0
    if args.action == "list":
        _list(database)
        return 0
    if not database.exists():
        raise CabinetError(f"{database}: there is no database yet; has `cabinet serve` run with this configuration?")
    if args.action == "check":
        return _check(database)
    if args.action == "running":
        print(_running(database))
        return 0
    if args.into is not None:
        _take_along(configuration.load(args.config), args.config, args.into)
    elif args.before_update:
        print(backup.make_before_update(database))
    elif args.to is None:
        print(backup.make(database, SystemClock().wall()))
    elif args.to.exists():
        raise CabinetError(f"{args.to} is there already: it would be overwritten")
    else:
        backup.copy_into(database, args.to)
        print(args.to)
    return 0


def _take_along(config: configuration.Config, file: Path, folder: Path) -> None:
    """Copy everything that another computer needs to continue with this cabinet's money and log."""
    if not folder.is_dir():
        raise CabinetError(f"{folder}: there is no such folder; is the medium mounted?")
    keys = admin.key_path(config)
    backup.copy_beside([file, *sorted(path for path in keys.parent.glob("*") if path.is_file())], folder)
    print(backup.make(admin.database_path(config), SystemClock().wall(), folder))


def _check(database: Path) -> int:
    found = backup.problems(database)
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"OK: {database}: pages, references, ledger and usage log are whole")
    return 1 if found else 0


def _running(database: Path) -> int:
    with contextlib.closing(Database(database, read_only=True)) as opened, opened.reading() as connection:
        return len(sessions.unfinished(connection))


def _list(database: Path) -> None:
    before_update = backup.folder_of(database) / backup.BEFORE_UPDATE
    paths = [*backup.backups(database), *([before_update] if before_update.exists() else [])]
    if not paths:
        print(f"no backups in {backup.folder_of(database)}")
    for path in paths:
        try:
            found = backup.inspect(path)
        except StoreError as error:
            print(f"{path}: not usable: {error}")
            continue
        print(f"{path}  {found.size // 1024} KiB, {found.sessions} charges, usage log up to {found.usage_number}")


def _restore(database: Path, which: str) -> None:
    path = backup.newest(database) if which == "newest" else Path(which)
    if path is None or not path.exists():
        raise CabinetError(f"there is no backup {which}; see cabinet store list")
    with backup.exclusive_lock(database):
        kept = backup.restore(database, path, SystemClock().wall())
    found = backup.inspect(database)
    print(f"{database} is {path.name} again: {found.sessions} charges, usage log up to {found.usage_number}")
    if kept is not None:
        print(f"what was there is kept: {kept}")
    print("Tell the property company: usage records above that number, if it has any, are of before.")
