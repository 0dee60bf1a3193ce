"""`cabinet boot`: show required changes of a Raspberry Pi's config.txt and cmdline.txt, and write them on request."""

import argparse
import difflib
from pathlib import Path

from cabinet import config as configuration
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.errors import CabinetError, os_error_at
from cabinet.hardware import raspberry_pi
from cabinet.system.atomic_file import keep_copy, replace_content

FOLDERS = ("/boot/firmware", "/boot")  # since Debian 12, and earlier


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
    for path, (_, after) in changes.items():
        _replace(path, after)
    print("written; it counts from the next boot on")
    return 0


def _folder() -> Path:
    found = next((Path(folder) for folder in FOLDERS if (Path(folder) / "config.txt").exists()), None)
    if found is None:
        raise CabinetError(f"no config.txt in {' or '.join(FOLDERS)}: is this a Raspberry Pi? Else give --folder")
    return found


def _changes(folder: Path, config: Config) -> dict[Path, tuple[bytes, bytes]]:
    """Return the present and the new content of each file that must change."""
    found = {folder / "config.txt": _content(folder / "config.txt")}
    after = {folder / "config.txt": raspberry_pi.with_lines(found[folder / "config.txt"], raspberry_pi.lines(config))}
    if raspberry_pi.console_on_board_uart(config) and (path := folder / "cmdline.txt").exists():
        found[path] = _content(path)
        after[path] = raspberry_pi.without_serial_login(found[path])
    return {path: (text, after[path]) for path, text in found.items() if text != after[path]}


def _removed(folder: Path) -> dict[Path, tuple[bytes, bytes]]:
    path = folder / "config.txt"
    before = _content(path)
    after = raspberry_pi.without_lines(before)
    return {} if before == after else {path: (before, after)}


def _content(path: Path) -> bytes:
    with os_error_at(path):
        return path.read_bytes()


def _difference(path: Path, before: bytes, after: bytes) -> list[str]:
    """Return the difference for people; bytes that are not UTF-8 are shown as replacement characters."""
    old, new = (content.decode(errors="replace").splitlines() for content in (before, after))
    return [f"{line}\n" for line in difflib.unified_diff(old, new, str(path), str(path), n=1, lineterm="")]


def _replace(path: Path, after: bytes) -> None:
    """Replace the file completely or not at all: a Pi without config.txt does not boot correctly."""
    with os_error_at(path, ": nothing is changed; run it as root"):
        keep_copy(path, path.with_name(f"{path.name}.before-cabinet"))
        replace_content(path, after)
