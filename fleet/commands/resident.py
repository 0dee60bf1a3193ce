"""`fleet resident`: add residents, top up wallets."""

import argparse
import secrets

from cabinet import pin_codes
from cabinet.errors import CabinetError
from cabinet.secret_hash import hash_secret
from cabinet.texts import number_format
from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import audit, residents, wallets
from fleet.store.database import Connection


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A resident signs in with the phone number and a code by SMS, or with a card and a PIN. Amounts are in fen.\n\n"
        "examples:\n"
        '  fleet resident add --company "Green Court" --phone 13800001111\n'
        '  fleet resident add --company "Green Court" --card 88112233 --name "Zhang"     prints the PIN\n'
        '  fleet resident top-up --company "Green Court" --phone 13800001111 2000\n'
        '  fleet resident list --company "Green Court"'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = options.add_action(actions, "add", "add a resident, by phone, by card, or both")
    add.add_argument("--phone", metavar="NUMBER")
    add.add_argument("--card", metavar="CARD")
    add.add_argument("--pin", metavar="DIGITS", help="of the card (default: a random one, printed)")
    add.add_argument("--name", default="", metavar="TEXT")
    add.add_argument("--group", default="", metavar="GROUP", help="selects the tariff")
    top_up = options.add_action(actions, "top-up", "add money to a wallet")
    options.add_resident(top_up)
    top_up.add_argument("amount_fen", type=int, metavar="FEN")
    top_up.add_argument("--key", metavar="KEY", help="repeating a command with the same key moves no more money")
    top_up.add_argument("--note", default="", metavar="TEXT", help="for the statement")
    listed = options.add_action(actions, "list", "list residents with balances")
    listed.add_argument("--words", default="", metavar="TEXT", help="in the name, or at an end of phone or card")
    for name, summary in (
        ("block", "block a resident; a running charge goes on"),
        ("unblock", "let a resident in again"),
    ):
        options.add_resident(options.add_action(actions, name, summary))


def main(args: argparse.Namespace) -> int:
    work = {"add": _add, "top-up": _top_up, "list": _list, "block": _block, "unblock": _block}[args.action]
    options.in_transaction(args, work(args))
    return 0


def _add(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        if args.phone is None and args.card is None:
            raise CabinetError("a resident needs --phone or --card")
        pin = args.pin
        if args.card is not None and pin is None:
            pin = pin_codes.random_pin()
        if pin is not None and not pin_codes.may_be_set(pin):
            raise CabinetError("a PIN has 6 to 12 digits, not all alike and not in a row")
        company = await options.company_of(connection, args.company)
        resident_id = await residents.add(
            connection,
            company.id,
            phone=args.phone,
            card=args.card,
            name=args.name,
            pin_hash=None if pin is None else hash_secret(pin),
            tariff_group=args.group,
        )
        await audit.add(connection, company.id, options.operator(), "residents_import", resident_id=resident_id)
        print(f"resident {resident_id}" + (f", PIN {pin}" if pin is not None and args.pin is None else ""))

    return work


def _top_up(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        resident = await options.resident_of(connection, company.id, args)
        key = args.key or secrets.token_hex(8)
        if await wallets.top_up(connection, company.id, resident.id, args.amount_fen, f"command:{key}", args.note):
            await audit.add(
                connection, company.id, options.operator(), "top_up", resident_id=resident.id,
                detail=number_format.yuan(args.amount_fen),
            )  # fmt: skip
        money = await wallets.wallet(connection, company.id, resident.id)
        print(f"resident {resident.id}: {number_format.yuan(money.balance_fen)} yuan")

    return work


def _list(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        after = 0
        while page := await residents.found(connection, company.id, args.words, after, 1000):
            after = page[-1].id
            for row in page:
                blocked = "blocked" if row.blocked else ""
                money = number_format.yuan(row.balance_fen)
                print(f"{row.id:>8} {row.phone or '-':<16} {row.card or '-':<16} {money:>10} {blocked:<8} {row.name}")

    return work


def _block(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        resident = await options.resident_of(connection, company.id, args)
        await residents.set_blocked(connection, company.id, resident.id, args.action == "block")
        await audit.add(connection, company.id, options.operator(), f"resident_{args.action}", resident_id=resident.id)

    return work
