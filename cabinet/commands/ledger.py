"""`cabinet ledger`: balances, statements and exports of the ledger, and money movements by staff."""

import argparse
import contextlib
import datetime
import sys
import zoneinfo
from pathlib import Path

from cabinet import config as configuration
from cabinet import normal_form
from cabinet.billing import ledger
from cabinet.clock import SystemClock, WallTime, days_ms
from cabinet.commands.options import AS_SERVICE, add_action, add_days
from cabinet.config import Config
from cabinet.plain_text import one_line
from cabinet.reports import ledger_csv
from cabinet.service.accounts import admin, wallets
from cabinet.store import ledger_books, residents, sessions
from cabinet.store.database import Database
from cabinet.system import file_output
from cabinet.texts import LANGUAGES, number_format
from cabinet.texts.number_format import yuan


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works while the service runs. Amounts are in yuan with at most two decimals.\n"
        "The same --key a second time moves nothing.\n"
        f"{AS_SERVICE}\n\n"
        "examples:\n"
        "  cabinet ledger balance\n"
        "  cabinet ledger statement 10023344 --from 2026-11-01\n"
        "  cabinet ledger export --month 2026-11 > november.csv\n"
        "  cabinet ledger export --month 2026-11 --format xlsx --output november.xlsx\n"
        "  cabinet ledger give-back SG-1-00000042 1.50 --note 'charger was broken' --key complaint-17\n"
        "  cabinet ledger pay-out 10023344 18.50 --key moved-out-2026-12"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_action(actions, "balance", "wallets, holds and revenue, all together")
    statement = add_action(actions, "statement", "every movement of one wallet, with the balance after it")
    statement.add_argument("card", metavar="CARD")
    add_days(statement)
    add_action(actions, "check", "whether every transaction balances and every balance is the sum of its postings")
    export = add_action(actions, "export", "a month's postings for the accountant, as CSV or spreadsheet")
    export.add_argument("--format", choices=("csv", "xlsx"), default="csv", help="(default: csv)")
    export.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")
    export.add_argument("--month", type=_month, required=True, metavar="YYYY-MM")
    export.add_argument("--lang", choices=LANGUAGES, default=LANGUAGES[0], help="language of the words in it")
    give_back = add_action(actions, "give-back", "return part of what a charge has cost into the wallet")
    give_back.add_argument("order", metavar="ORDER", help="order number, as on the receipt")
    for name, summary in (
        ("pay-out", "money of a wallet that its resident takes away"),
        ("write-off", "what is left in a wallet that nobody will claim"),
    ):
        add_action(actions, name, summary).add_argument("card", metavar="CARD")
    for name in ("give-back", "pay-out", "write-off"):
        action = actions.choices[name]
        action.add_argument("amount", metavar="YUAN")
        action.add_argument("--note", default="", help="why; kept in the ledger")
        action.add_argument("--key", help="such as the complaint's number: the same key twice moves money once")


def _month(text: str) -> datetime.date:
    found = normal_form.day(f"{text}-01")
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no month, such as 2026-11")
    return found


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    with contextlib.closing(admin.open_database(config)) as database:
        if args.action == "balance":
            _balance(database)
        elif args.action == "statement":
            _statement(args, config, database)
        elif args.action == "check":
            return _check(database)
        elif args.action == "export":
            _export(args, config, database)
        else:
            _move(args, database)
    return 0


def _balance(database: Database) -> None:
    found = wallets.balances(database)
    rows = (
        ("wallets, free to spend", found.wallets_fen),
        ("held for running charges", found.holds_fen),
        ("revenue, electricity", found.electricity_fen),
        ("revenue, service", found.service_fen),
        ("written off", found.written_off_fen),
        ("cash taken in, less paid out", found.cash_fen),
    )
    for name, fen in rows:
        print(f"{name:<30} {yuan(fen):>12}")
    print(f"{'all together':<30} {yuan(sum(fen for _, fen in rows)):>12}")


def _statement(args: argparse.Namespace, config: Config, database: Database) -> None:
    zone = zoneinfo.ZoneInfo(config.site.timezone)
    with database.reading() as connection:
        for entry, balance_fen in wallets.statement(connection, args.card, *days_ms(args.from_day, args.to_day, zone)):
            amount = f"{'+' * (entry.amount_fen > 0)}{yuan(entry.amount_fen)}"
            print(
                f"{_when(entry, zone)}  {amount:>10}  {yuan(balance_fen):>10}  "
                f"{entry.kind:<10} {one_line(entry.key)}{f'  ({one_line(entry.note)})' if entry.note else ''}"
            )


def _when(entry: ledger_books.LedgerEntry, zone: zoneinfo.ZoneInfo) -> str:
    """Return the time of an entry, with a question mark if the clock was not set then."""
    moment = number_format.local(WallTime(entry.unix_ms, entry.trusted), zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}{' ' if entry.trusted else '?'}"


def _check(database: Database) -> int:
    with database.reading() as connection:
        problems = ledger_books.check(connection)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("OK: every transaction balances, every balance is the sum of its postings, none is below 0")
    return 1 if problems else 0


def _export(args: argparse.Namespace, config: Config, database: Database) -> None:
    file_output.check_not_terminal(args.format, args.output)
    zone = zoneinfo.ZoneInfo(config.site.timezone)
    last_day = (args.month + datetime.timedelta(days=31)).replace(day=1) - datetime.timedelta(days=1)
    with database.reading() as connection:
        cards = {ledger.wallet(resident.id): resident.card for resident in residents.all_residents(connection)}

        def row(entry: ledger_books.LedgerEntry) -> ledger_csv.Row:
            return ledger_csv.Row(entry, cards.get(entry.account, ""), sessions.order_of_key(connection, entry.key))

        entries = ledger_books.entries(connection, None, *days_ms(args.month, last_day, zone))
        rows = map(row, entries)
        with file_output.output(args.output) as output:
            if args.format == "xlsx":
                file_output.copy_sheet(output, lambda path: ledger_csv.write_sheet(path, rows, args.lang, zone))
            else:
                output.writelines(line.encode() for line in ledger_csv.csv_lines(rows, args.lang, zone))


def _move(args: argparse.Namespace, database: Database) -> None:
    clock, amount_fen = SystemClock(), wallets.fen_of_yuan(args.amount)
    if args.action == "give-back":
        balance_fen = wallets.give_back(database, clock, args.order, amount_fen, args.key, args.note)
        order = normal_form.order_number(args.order)
        print(f"{order}: {yuan(amount_fen)} yuan given back, balance {yuan(balance_fen)} yuan")
        return
    move = wallets.pay_out if args.action == "pay-out" else wallets.write_off
    balance_fen = move(database, clock, args.card, amount_fen, args.key, args.note)
    print(f"card {normal_form.spelling(args.card)}: balance {yuan(balance_fen)} yuan")
