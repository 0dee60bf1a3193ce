"""`fleet merchant`: accounts of companies at WeChat Pay and Alipay, refunds that failed, and differences."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError, os_error_at
from cabinet.system.secret_files import check_private
from cabinet.texts import number_format
from fleet.commands import options
from fleet.config import FleetConfig
from fleet.money import paying, reconciliation
from fleet.money.payment_table import RefundStep
from fleet.money.payments.accounts import add_account, try_account
from fleet.money.payments.http import PlatformHttp
from fleet.money.secret_box import make_key, open_box
from fleet.store import audit, merchants, payments
from fleet.store.database import Connection

PLATFORMS = ("wechat", "alipay")


class _AccountFile(msgspec.Struct, forbid_unknown_fields=True):
    settings: dict[str, Any]
    secrets: dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "An account's file is JSON with `settings` and `secrets`: docs/payments.md says what belongs into it. Delete\n"
        "it afterwards: the secrets are kept sealed in the database, with the key payments.key.\n\n"
        "examples:\n"
        '  fleet merchant add --company "Green Court" --platform wechat wechat.json\n'
        '  fleet merchant list --company "Green Court"\n'
        '  fleet merchant refunds --company "Green Court"\n'
        '  fleet merchant refund PABCDEFGHJKMNPQRSTR1 --company "Green Court" --again'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = options.add_action(actions, "add", "add an account, or replace its keys")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--platform", choices=PLATFORMS, required=True)
    options.add_action(actions, "list", "list the accounts of a company")
    retire = options.add_action(actions, "retire", "offer no payment by an account any more")
    retire.add_argument("account", type=int, metavar="ID", help="as in `fleet merchant list`")
    options.add_action(actions, "refunds", "list refunds that failed and wait for a person")
    refund = options.add_action(actions, "refund", "decide about a refund that failed")
    refund.add_argument("number", metavar="NUMBER")
    way = refund.add_mutually_exclusive_group(required=True)
    way.add_argument("--again", action="store_true", help="ask the platform again")
    way.add_argument("--by-hand", action="store_true", help="note that it was paid out in cash")
    options.add_action(actions, "differences", "list open differences between a platform and the books")
    close = options.add_action(actions, "close", "close a difference")
    close.add_argument("difference", type=int, metavar="ID")
    close.add_argument("--note", required=True, metavar="TEXT", help="what it was")


def main(args: argparse.Namespace) -> int:
    actions = {
        "add": _add, "list": _list, "retire": _retire, "refunds": _refunds, "refund": _refund,
        "differences": _differences, "close": _close,
    }  # fmt: skip
    options.in_transaction(args, actions[args.action](args))
    return 0


def _add(args: argparse.Namespace) -> options.Work:
    check_private(args.file)
    with os_error_at(args.file):
        text = args.file.read_bytes()
    try:
        file = msgspec.json.decode(text, type=_AccountFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CabinetError(f"{args.file}: {error}") from None
    secrets = msgspec.json.encode(file.secrets)
    try_account(args.platform, file.settings, secrets, PlatformHttp(), lambda: SystemClock().wall().unix_ms / 1000)

    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        key = Path(config.payments.key)
        make_key(key)
        account_id = await add_account(connection, open_box(key), company.id, args.platform, file.settings, secrets)
        await audit.add(
            connection, company.id, options.operator(), "merchant_added", subject=f"{args.platform} {account_id}"
        )
        print(f"account {account_id} at {args.platform}; keep {key} with the backups of the trust folder")

    return work


def _list(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        for row in await merchants.of_company(connection, company.id):
            state = "in use" if row.retired is None else f"retired {row.retired:%Y-%m-%d}"
            print(f"{row.id:<6} {row.platform:<8} {row.merchant:<20} {row.app:<20} {state}")

    return work


def _retire(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        await merchants.retire(connection, company.id, args.account)
        await audit.add(connection, company.id, options.operator(), "merchant_retired", subject=str(args.account))

    return work


def _refunds(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        for row in await payments.failed_refunds(connection, company.id):
            amount = number_format.yuan(row.amount_fen)
            print(f"{row.number:<24} {amount:>9} yuan  {row.made:%Y-%m-%d %H:%M}  {row.problem}")

    return work


def _refund(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        step = RefundStep.AGAIN if args.again else RefundStep.BY_HAND
        await paying.decide_refund(connection, company.id, args.number, step)
        await audit.add(connection, company.id, options.operator(), f"refund_{step}", subject=args.number)

    return work


def _differences(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        found = await reconciliation.open_differences(connection, company.id)
        for row in found:
            number, yuan = row.refund_number or row.payment_number, number_format.yuan
            amounts = f"ours {yuan(row.ours_fen)}, theirs {yuan(row.theirs_fen)} yuan"
            print(f"{row.id:<6} {row.day}  {row.kind:<16} {number:<24} {amounts}  {row.detail}")
        if not found:
            print("no open difference", file=sys.stderr)

    return work


def _close(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        await reconciliation.close_difference(connection, company.id, args.difference, options.operator(), args.note)
        await audit.add(
            connection, company.id, options.operator(), "difference_closed", subject=str(args.difference),
            detail=args.note,
        )  # fmt: skip

    return work
