"""`cabinet check`: list all mistakes in a configuration file, or print the reference of its keys or an example."""

import argparse
import sys
from pathlib import Path

from cabinet.commands.options import DEFAULT_CONFIG
from cabinet.config import Config, load
from cabinet.config.equivalents import equivalents
from cabinet.config.reference import example, reference
from cabinet.errors import ConfigErrors
from cabinet.system.computers import load_here, period_problems, this_computer
from cabinet.texts.number_format import yuan


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Exit status 0: the file is good. 1: it is not, and every mistake is one line with the path of its key.\n"
        "Of a good file it says on standard error what each limit means in the unit of the others.\n"
        "On a Raspberry Pi 4 or 5 a scan period in the file must be one that this computer holds with these outlets;\n"
        "without one, the guard takes the shortest. A slower computer needs an alert line at every outlet. Any other\n"
        "computer is not judged: cabinet bench measures it.\n\n"
        "examples:\n  cabinet check /etc/cabinet/cabinet.toml\n  cabinet check --example"
    )
    parser.add_argument(
        "--any-computer", action="store_true", help="not whether this computer holds guard.scan_period_s"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, metavar="FILE", help=f"such as {DEFAULT_CONFIG}")
    what.add_argument("--reference", action="store_true", help="every key with unit, default, bounds and reason")
    what.add_argument("--example", action="store_true", help="a commented file for a ten-outlet cabinet")


def main(args: argparse.Namespace) -> int:
    if args.reference:
        print(reference(), end="")
    elif args.example:
        print(example(), end="")
    else:
        config = load(args.file) if args.any_computer else load_here(args.file)
        computer = None if args.any_computer or config.simulated else this_computer()
        if computer is not None and (problems := period_problems(config, computer)):
            raise ConfigErrors(str(args.file), problems)
        print(f"OK: {args.file}: {summary(config)}")
        for sentence in equivalents(config):
            print(sentence, file=sys.stderr)
        print(f"all peaks are scanned every {1000 * config.guard.scan_period_s:.2g} ms", file=sys.stderr)
    return 0


def summary(config: Config) -> str:
    """Return one line that identifies the cabinet for its owner."""
    hardware = "simulated hardware" if config.simulated else f"{config.hardware.bus} and {config.hardware.pin_factory}"
    tariff = config.tariff
    hour = sorted({band.fen_per_hour for band in tariff.time_bands})
    kwh = sorted(
        {round(period.electricity_fen_per_kwh + tariff.service_fen_per_kwh) for period in tariff.energy_periods}
    )
    return (
        f"{config.site.name} ({config.site.site_id}), {_count(len(config.outlet), 'outlet')} on {hardware}, "
        f"tariff {tariff.version}: {_span(hour)} yuan an hour, {_span(kwh)} yuan a kWh"
    )


def _span(fen: list[int]) -> str:
    return yuan(fen[0]) if len(fen) == 1 else f"{yuan(fen[0])} to {yuan(fen[-1])}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
