"""A command with sub-commands, of which only the one that is asked for is loaded: `cabinet` and `fleet`."""

import argparse
import importlib
import sys

from cabinet import __version__, safe_output
from cabinet.errors import CabinetError


def run(program: str, description: str, epilog: str, summaries: dict[str, str], argv: list[str] | None) -> int:
    """Run the sub-command that `argv` names; return the exit status. `summaries` are by the sub-command's name.

    Its module is `PROGRAM.commands.NAME`, with `configure(parser)` and `main(args)`. A CabinetError is one line on
    standard error. Names and notes of others do not reach the terminal as commands.
    """
    with safe_output.text_only():
        return _run(program, description, epilog, summaries, sys.argv[1:] if argv is None else argv)


def _run(program: str, description: str, epilog: str, summaries: dict[str, str], arguments: list[str]) -> int:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=program, description=description, epilog=epilog, formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked_for = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in summaries.items():
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=shape)
        if name == asked_for:
            module = importlib.import_module(f"{program}.commands.{name}")
            module.configure(command)
            command.set_defaults(main=module.main)
    args = parser.parse_args(arguments)
    try:
        return int(args.main(args))
    except CabinetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
