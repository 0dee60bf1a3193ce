"""`cabinet tariff`: check, explain and put into force tariffs in addition to the one in `cabinet.toml`."""

import argparse
import datetime
import zoneinfo
from pathlib import Path

from cabinet import config as configuration
from cabinet import normal_form, texts
from cabinet.billing import tariff_files
from cabinet.billing.posted import ALWAYS, PostedTariff
from cabinet.billing.tariff import MINUTES_A_DAY, Package, Tariff, parts_fen
from cabinet.clock import SystemClock
from cabinet.commands.options import add_action
from cabinet.config import Config
from cabinet.console.terminal.columns import pad, width
from cabinet.errors import CabinetError, ConfigErrors
from cabinet.model import CostLine, EndReason
from cabinet.service.charges import pricing
from cabinet.service.ports import StartChoice
from cabinet.texts import Texts, number_format
from cabinet.web.words import Formatter

MAX_HOURS = 48
MAX_GIVEN = 100_000  # hours, watts or kWh; a larger number is a typing error, and so is NaN


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A tariff file has the keys of [tariff] in cabinet.toml, and says when and for whom; see docs/tariffs.md.\n"
        "What is added takes effect within ten seconds, for charges that begin from then on.\n\n"
        "examples:\n"
        "  cabinet tariff check spring-2027.toml\n"
        "  cabinet tariff explain spring-2027.toml --hours 4 --watts 200 --start 2027-03-01T21:00\n"
        "  cabinet tariff add spring-2027.toml\n"
        "  cabinet tariff list"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add_action(actions, "check", "find every mistake in tariff files", config=False)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    explain = add_action(actions, "explain", "the receipt that a charge at one power would give", config=False)
    explain.add_argument("file", type=Path, metavar="FILE")
    explain.add_argument("--hours", type=float, help="charging time")
    explain.add_argument("--watts", type=float, help="power")
    explain.add_argument("--kwh", type=float, help="energy; any two of the three are enough")
    explain.add_argument("--start", type=_local, metavar="TIME", help="local, such as 2027-03-01T21:00 (default: now)")
    explain.add_argument("--package", type=int, metavar="HOURS", help="the charge bought this package")
    explain.add_argument("--end", choices=("normal", "tripped"), default="normal", help="(default: normal)")
    explain.add_argument("--lang", choices=texts.LANGUAGES, default=texts.LANGUAGES[0], help="language of the receipt")
    add = add_action(actions, "add", "put a tariff file into force")
    add.add_argument("file", type=Path, metavar="FILE")
    remove = add_action(actions, "remove", "take a tariff out of force; running charges keep theirs")
    remove.add_argument("version", metavar="VERSION")
    add_action(actions, "list", "every tariff, and what it is for")


def _local(text: str) -> datetime.datetime:
    wrong = argparse.ArgumentTypeError(f"{text!r} is no local time, such as 2027-03-01T21:00")
    try:
        moment = datetime.datetime.fromisoformat(normal_form.spelling(text))
    except ValueError:
        raise wrong from None
    if moment.tzinfo is not None:
        raise wrong
    return moment


def main(args: argparse.Namespace) -> int:
    if args.action == "check":
        return _check(args.files)
    if args.action == "explain":
        for line in receipt(args):
            print(line)
        return 0
    config = configuration.load(args.config)
    if args.action == "add":
        _add(config, args.file)
    elif args.action == "remove":
        _remove(config, args.version)
    else:
        return _list(config)
    return 0


def _check(files: list[Path]) -> int:
    failed = 0
    for path in files:
        try:
            posted = tariff_files.load_file(path)
        except ConfigErrors as errors:
            print(errors)
            failed = 1
        else:
            print(f"OK: {path}: {_what_for(posted)}")
    return failed


# --- Sample receipt ---------------------------------------------------------------------------------------------------


def receipt(args: argparse.Namespace) -> list[str]:
    """Return the lines of the receipt. Raises CabinetError if the arguments do not define the charge."""
    hours, watts = _hours_and_watts(args.hours, args.watts, args.kwh)
    tariff = tariff_files.load_file(args.file).tariff
    if args.package is not None:
        bought = [package for package in tariff.packages if package.bought_s == args.package * 3600]
        if not bought:
            raise CabinetError(f"{args.file}: there is no package of {args.package} h")
        tariff = billing_with(tariff, bought[0])
    start = args.start or number_format.local(SystemClock().wall(), None)
    minute = start.toordinal() * MINUTES_A_DAY + start.hour * 60 + start.minute
    use = pricing.sample_use(tariff, round(hours * 3600), watts, minute)
    reason = EndReason.TRIPPED if args.end == "tripped" else None
    return _printed(pricing.price_lines(tariff, use, 1 << 40, reason), tariff, Texts("web", args.lang))


def billing_with(tariff: Tariff, package: Package) -> Tariff:
    return pricing.session_tariff(tariff, StartChoice("package", seconds=package.bought_s), 0)


def _hours_and_watts(hours: float | None, watts: float | None, kwh: float | None) -> tuple[float, float]:
    given = [value for value in (hours, watts, kwh) if value is not None]
    if len(given) < 2 or not all(0 < value < MAX_GIVEN for value in given):
        raise CabinetError("give two of --hours, --watts and --kwh, above 0")
    if hours is not None and watts is not None and kwh is not None and abs(hours * watts / 1000 - kwh) > 0.001:
        raise CabinetError(f"{hours:g} h at {watts:g} W are {hours * watts / 1000:g} kWh, not {kwh:g}")
    if hours is None:
        assert kwh is not None
        assert watts is not None
        hours = kwh * 1000 / watts
    elif watts is None:
        assert kwh is not None
        watts = kwh * 1000 / hours
    if hours > MAX_HOURS:
        raise CabinetError(f"no charge lasts {hours:g} h: at most {MAX_HOURS}")
    return hours, watts


def _printed(charged: list[CostLine], tariff: Tariff, words: Texts) -> list[str]:
    fmt = Formatter(words, zoneinfo.ZoneInfo("UTC"))
    rows = [(fmt.line_name(line), fmt.line_sum(line), fmt.money(line.amount_fen)) for line in charged]
    electricity_fen, service_fen = parts_fen(charged)
    rows += [
        (words("bill.total"), "", fmt.money(electricity_fen + service_fen)),
        (words("bill.electricity"), "", fmt.money(electricity_fen)),
        (words("bill.service"), "", fmt.money(service_fen)),
        (words("price.version"), "", tariff.version),
    ]
    names, sums = (max(width(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{pad(name, names)}  {pad(sum_, sums)}  {amount}" for name, sum_, amount in rows]
    return [line.replace("\u00a0", " ") for line in lines]  # no-break spaces are for pages


# --- Tariff folder ----------------------------------------------------------------------------------------------------


def _add(config: Config, path: Path) -> None:
    """Check the tariff against all others, then add its file completely or not at all."""
    posted = tariff_files.load_file(path)
    others, _ = tariff_files.load_all(config)
    tariff_files.check_beside(config, posted, others)
    tariff_files.put(config, posted.tariff.version, path.read_bytes())
    print(f"added: {_what_for(posted)}")


def _remove(config: Config, version: str) -> None:
    others, _ = tariff_files.load_all(config)
    found = [each for each in others if each.tariff.version == version]
    if found and found[0].source == tariff_files.BASE:
        raise CabinetError(f"{version} is the tariff of cabinet.toml itself: it is for all that no other is for")
    path = Path(found[0].source) if found else tariff_files.path_of(config, version)
    try:
        path.unlink()
    except FileNotFoundError:
        raise CabinetError(f"there is no tariff {version}; see cabinet tariff list") from None
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}") from error
    print(f"removed: {version}")


def _list(config: Config) -> int:
    posted, wrong = tariff_files.load_all(config)
    for each in posted:
        print(f"{_what_for(each)}  ({each.source})")
    for errors in wrong:
        print(f"NOT USED: {errors}")
    return 1 if wrong else 0


def _what_for(posted: PostedTariff) -> str:
    """Return one line that identifies a tariff for its owner."""
    outlets = f"outlets {', '.join(map(str, sorted(posted.outlets)))}" if posted.outlets else "all outlets"
    groups = f"residents of {', '.join(sorted(posted.groups))}" if posted.groups else "all residents"
    when = "" if posted.from_day <= 0 else f", from {datetime.date.fromordinal(posted.from_day)}"
    when += "" if posted.until_day == ALWAYS else f", until {datetime.date.fromordinal(posted.until_day)}"
    return f"{posted.tariff.version}: {outlets}, {groups}{when}"
