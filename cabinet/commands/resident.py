"""`cabinet resident`: manage residents and their wallets."""

import argparse
import collections
import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

from cabinet import config as configuration
from cabinet import normal_form, safe_output
from cabinet.clock import SystemClock
from cabinet.commands.options import AS_SERVICE, add_action
from cabinet.errors import CabinetError
from cabinet.plain_text import one_line
from cabinet.reports import spreadsheet
from cabinet.reports.usage_csv import BOM, csv_line
from cabinet.service.accounts import admin, guests, residents_import, wallets
from cabinet.store.database import Database
from cabinet.texts.number_format import yuan


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works while the service runs. Amounts are in yuan with at most two decimals.\n"
        f"{AS_SERVICE}\n\n"
        "examples:\n"
        "  cabinet resident add 10023344 --name 王芳 --balance 20\n"
        "  cabinet resident top-up 10023344 50 --key receipt-2026-0815\n"
        "  cabinet resident block 10023344\n"
        "  cabinet resident group 10023344 staff\n"
        "  cabinet resident guest --balance 10\n"
        "  cabinet resident import residents.csv --pins pins.xlsx --dry-run\n"
        "  cabinet resident import-top-ups november.csv\n"
        "  cabinet resident list"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = add_action(actions, "add", "a new resident; the PIN is printed once")
    add.add_argument("card", metavar="CARD", help="4 to 32 letters, digits or hyphens")
    add.add_argument("--name", default="", help="for the property company's eyes only")
    add.add_argument("--pin", help="6 to 12 digits, not easily guessed (default: six random ones)")
    add.add_argument("--balance", metavar="YUAN", default="0", help="first money in the wallet")
    add.add_argument("--group", default="", help="that tariff files may be for")
    group = add_action(actions, "group", "the group that tariff files may be for; without one: none")
    group.add_argument("card", metavar="CARD")
    group.add_argument("group", nargs="?", default="", metavar="GROUP")
    top_up = add_action(actions, "top-up", "put money into a wallet")
    top_up.add_argument("card", metavar="CARD")
    top_up.add_argument("amount", metavar="YUAN")
    top_up.add_argument("--key", help="such as the receipt's number: the same key twice tops up once")
    for name, summary in (
        ("block", "a lost card: signs out, starts nothing"),
        ("unblock", "the card may be used again"),
        ("erase", "take name, card and PIN out of the database for good; charges stay, and identify no one"),
    ):
        add_action(actions, name, summary).add_argument("card", metavar="CARD")
    pin = add_action(actions, "pin", "a new PIN, printed once; signs out")
    pin.add_argument("card", metavar="CARD")
    pin.add_argument("--pin", help="6 to 12 digits, not easily guessed (default: six random ones)")
    guest = add_action(actions, "guest", "a code for somebody without a card; signs in once, printed once")
    guest.add_argument("--balance", metavar="YUAN", required=True, help="what the guest has paid to charge with")
    guest.add_argument("--hours", type=int, default=guests.HOURS, help=f"good for (default {guests.HOURS})")
    guest.add_argument("--name", default="", help="for the property company's eyes only")
    bring_in = add_action(actions, "import", "residents from a CSV: card, and name, group, pin, balance as there are")
    bring_in.add_argument("file", type=Path, metavar="FILE")
    bring_in.add_argument(
        "--pins",
        type=Path,
        metavar="FILE",
        help="where cards and PINs are written, for you only: a spreadsheet (.xlsx), or CSV for programs",
    )
    top_ups = add_action(
        actions, "import-top-ups", "top-ups from a CSV: card, amount, key (such as the receipt's number)"
    )
    top_ups.add_argument("file", type=Path, metavar="FILE")
    for action in (bring_in, top_ups):
        action.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    add_action(actions, "list", "all residents with their balances")


def main(args: argparse.Namespace) -> int:
    with contextlib.closing(admin.open_database(configuration.load(args.config))) as database:
        _do(args, database)
    return 0


def _do(args: argparse.Namespace, database: Database) -> None:
    clock, card = SystemClock(), normal_form.spelling(getattr(args, "card", ""))
    if args.action == "add":
        first_fen = wallets.fen_of_yuan(args.balance)
        pin = admin.add_resident(
            database, clock, args.card, name=args.name, pin=args.pin, first_fen=first_fen, group=args.group
        )
        print(f"card {normal_form.card(args.card)}, PIN {pin}, balance {yuan(first_fen)} yuan")
    elif args.action == "top-up":
        balance_fen = wallets.top_up(database, clock, args.card, wallets.fen_of_yuan(args.amount), args.key)
        print(f"card {card}: balance {yuan(balance_fen)} yuan")
    elif args.action in ("block", "unblock"):
        admin.block_resident(database, args.card, args.action == "block")
        print(f"card {card}: {args.action}ed")
    elif args.action == "group":
        admin.set_group(database, args.card, args.group)
        print(f"card {card}: group {normal_form.group(args.group) or 'none'}")
    elif args.action == "pin":
        print(f"card {card}, PIN {admin.set_pin(database, args.card, args.pin)}")
    elif args.action == "erase":
        admin.erase_resident(database, args.card)
        print(f"card {card}: erased")
    elif args.action == "guest":
        balance_fen = wallets.fen_of_yuan(args.balance)
        issued = guests.issue(database, clock, balance_fen, args.hours, args.name)
        code, balance = guests.spoken(issued.code), yuan(balance_fen)
        print(
            f"guest code {code}, good once within {args.hours} h, balance {balance} yuan;"
            f" in the list as card {issued.card}"
        )
    elif args.action == "import":
        _import(args, database)
    elif args.action == "import-top-ups":
        _import_top_ups(args, database)
    else:
        _print_list(admin.list_residents(database))


def _import(args: argparse.Namespace, database: Database) -> None:
    with database.reading() as connection:
        planned = residents_import.plan_residents(connection, str(args.file), residents_import.text_of(args.file))
    total = yuan(sum(new.first_fen for new in planned))
    if args.dry_run:
        print(f"{len(planned)} residents would be added, with {total} yuan together; nothing was changed")
        return
    if args.pins is None:
        raise CabinetError("give --pins FILE: the PINs are not stored and could never be read again")
    _write_pins(args.pins, planned)
    try:
        residents_import.add_residents(database, SystemClock(), planned, _progress)
    except BaseException:
        args.pins.unlink(missing_ok=True)
        raise
    print(f"{len(planned)} residents added, with {total} yuan together; their PINs are in {args.pins}")
    if args.pins.suffix.lower() != ".xlsx":
        print("a spreadsheet drops the zeros at the beginning of a CSV's numbers: for people give --pins FILE.xlsx")


def _write_pins(path: Path, planned: Sequence[residents_import.NewResident]) -> None:
    """Write the PINs to disk before the residents are added, readable by the file's owner only."""
    titles, rows = ["card", "name", "pin"], [[new.card, new.name, new.pin] for new in planned]
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            if path.suffix.lower() == ".xlsx":
                sheet = io.BytesIO()
                spreadsheet.write(sheet, titles, rows)
                file.write(sheet.getvalue())
            else:
                file.write((BOM + "".join(map(csv_line, [titles, *rows]))).encode())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise CabinetError(f"{path} is there already: it would be overwritten") from None
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}") from error


def _progress(done: int, of: int) -> None:
    safe_output.progress(f"{done}/{of} PINs", over=done == of)


def _import_top_ups(args: argparse.Namespace, database: Database) -> None:
    planned, before = residents_import.plan_top_ups(database, args.file)
    total = yuan(sum(each.amount_fen for each in planned))
    known = f", {len(before)} were made before" if before else ""
    if args.dry_run:
        print(f"{len(planned)} top-ups would be made, {total} yuan together{known}; nothing was changed")
        return
    residents_import.make_top_ups(database, SystemClock(), planned)
    print(f"{len(planned)} top-ups made, {total} yuan together{known}")


def _print_list(residents: list[admin.ResidentSummary]) -> None:
    if not residents:
        print("no residents yet: cabinet resident add CARD")
        return
    print(f"{'card':<20} {'balance':>10} {'held':>8}  name")
    for resident in residents:
        notes = (f" [{one_line(resident.group)}]" if resident.group else "") + (
            " (blocked)" if resident.blocked else ""
        )
        print(
            f"{one_line(resident.card):<20} {yuan(resident.balance_fen):>10} {yuan(resident.held_fen):>8}"
            f"  {one_line(resident.name)}{notes}"
        )
    forms = collections.Counter(normal_form.card(resident.card) for resident in residents)
    if alike := sorted(each.card for each in residents if forms[normal_form.card(each.card)] > 1):
        print(f"differ only in capital letters: {one_line(', '.join(alike))}: each is found by its own spelling only")
