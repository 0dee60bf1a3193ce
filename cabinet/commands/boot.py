"""`cabinet boot`: what config.txt and cmdline.txt of a Raspberry Pi need; shown, and written only when told to."""

import argparse
import difflib
import os
from pathlib import Path

from cabinet import board
from cabinet import config as configuration
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.errors import CabinetError

FOLDERS = ("/boot/firmware", "/boot")  # since Debian 12, and before


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Shows what would change. Written only with --apply; what was there is kept beside, and counts from the next\n"
        "boot on. --remove takes the lines out again. Exit status 0: all is as it should be; 1: it is not, yet.\n\n"
        "examples:\n  cabinet boot\n  cabinet boot --apply"
    )
    add_config(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="write the changes")
    what.add_argument("--remove", action="store_true", help="take the cabinet's lines out of config.txt again")
    parser.add_argument("--folder", type=Path, help=f"where the files are (default: {' or '.join(FOLDERS)})")


def main(args: argparse.Namespace) -> int:
    folder = args.folder or _folder()
    changes = _removed(folder) if args.remove else _changes(folder, configuration.load(args.config))
    for path, (before, after) in changes.items():
        print("".join(_difference(path, before, after)), end="")
    if not changes:
        print(f"{folder}: as it should be")
        return 0
    if not (args.apply or args.remove):
        print("nothing is written yet: cabinet boot --apply")
        return 1
    for path, (before, after) in changes.items():
        _replace(path, before, after)
    print("written; it counts from the next boot on")
    return 0


def _folder() -> Path:
    found = next((Path(folder) for folder in FOLDERS if (Path(folder) / "config.txt").exists()), None)
    if found is None:
        raise CabinetError(f"no config.txt in {' or '.join(FOLDERS)}: is this a Raspberry Pi? Else give --folder")
    return found


def _changes(folder: Path, config: Config) -> dict[Path, tuple[str, str]]:
    """Before and after of each file that is to change."""
    found = {folder / "config.txt": _text(folder / "config.txt")}
    after = {folder / "config.txt": board.with_lines(found[folder / "config.txt"], board.lines(config))}
    if board.on_the_boards_uart(config) and (path := folder / "cmdline.txt").exists():
        found[path] = _text(path)
        after[path] = board.without_serial_login(found[path])
    return {path: (text, after[path]) for path, text in found.items() if text != after[path]}


def _removed(folder: Path) -> dict[Path, tuple[str, str]]:
    path = folder / "config.txt"
    before = _text(path)
    after = board.without_lines(before)
    return {} if before == after else {path: (before, after)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}") from error


def _difference(path: Path, before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), n=1, lineterm="")
    return [f"{line}\n" for line in lines]


def _replace(path: Path, before: str, after: str) -> None:
    """The new file as a whole or not at all: a Pi without config.txt does not come up as it should."""
    kept = path.with_name(f"{path.name}.before-cabinet")
    part = path.with_name(f"{path.name}.part")
    try:
        if not kept.exists():
            _write(kept, before)
        _write(part, after)
        part.replace(path)
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}: nothing is changed; run it as root") from error


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
