"""`fleet ledger`: check the books, and statements."""

import argparse
import sys

from cabinet.reports.usage_csv import BOM, csv_line
from cabinet.texts import number_format
from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import companies, payments, wallets
from fleet.store.database import Connection

PAGE = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "check: every transaction balances, every balance is the sum of its postings, only cash, money at\n"
        "payment platforms and named debts are below 0, each order holds what its state says, and the money at the\n"
        "platforms is that of payments and refunds. Exit status 1 if not, with a line for each problem.\n\n"
        "examples:\n"
        "  fleet ledger check\n"
        '  fleet ledger statement --company "Green Court" --phone 13800001111\n'
        '  fleet ledger export --company "Green Court" > postings.csv'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = options.add_action(actions, "check", "check the books of one company or all", company=False)
    check.add_argument("--company", metavar="NAME", help="(default: all)")
    options.add_resident(options.add_action(actions, "statement", "movements of a resident's wallet, the newest first"))
    options.add_action(actions, "export", "every posting as CSV, in the order of entry")


def main(args: argparse.Namespace) -> int:
    problems: list[str] = []
    work = {"check": _check, "statement": _statement, "export": _export}[args.action](args, problems)
    options.in_transaction(args, work, snapshot=True)
    return 1 if problems else 0


def _check(args: argparse.Namespace, problems: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        for company in await companies.everyone(connection):
            if args.company not in (None, company.name):
                continue
            found = await wallets.check(connection, company.id) + await payments.check(connection, company.id)
            found = [f"{company.name}: {problem}" for problem in found]
            problems.extend(found)
            print("\n".join(found) or f"{company.name}: the books are in order")

    return work


def _statement(args: argparse.Namespace, _: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        resident = await options.resident_of(connection, company.id, args)
        money = await wallets.wallet(connection, company.id, resident.id)
        parts = {"free": money.balance_fen, "held": money.held_fen, "owed": money.debt_fen}
        print(", ".join(f"{name} {number_format.yuan(fen)} yuan" for name, fen in parts.items()))
        before = None
        while page := await wallets.statement(connection, company.id, resident.id, before, PAGE):
            before = page[-1].number
            for line in page:
                amount, balance = number_format.yuan(line.amount_fen), number_format.yuan(line.balance_fen)
                moment = line.at.isoformat(" ", "seconds")
                print(f"{moment} {line.kind:<12} {amount:>10} {balance:>10} {line.order_number or line.note}")

    return work


def _export(args: argparse.Namespace, _: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        out = sys.stdout.buffer  # a file for a spreadsheet, not lines for a terminal
        heads = ["number", "time", "kind", "account", "debit_yuan", "credit_yuan", "note", "key"]
        out.write((BOM + csv_line(heads)).encode())
        after = 0
        while page := await wallets.entries(connection, company.id, after=after, limit=PAGE):
            after = page[-1].number
            for entry in page:
                amount = number_format.yuan(abs(entry.amount_fen))
                sides = [amount, ""] if entry.amount_fen < 0 else ["", amount]
                moment = entry.at.isoformat(" ", "seconds")
                cells = [str(entry.number), moment, entry.kind, entry.account, *sides, entry.note, entry.key]
                out.write(csv_line(cells).encode())

    return work
