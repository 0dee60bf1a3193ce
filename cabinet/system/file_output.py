"""Output of commands: to standard output as bytes, or to a file written atomically."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cabinet.errors import CabinetError, os_error_at
from cabinet.system.atomic_file import replacing


def check_not_terminal(form: str, path: Path | None) -> None:
    """Raise CabinetError if a spreadsheet would go to a terminal."""
    if form == "xlsx" and path is None and sys.stdout.isatty():
        raise CabinetError("a spreadsheet is nothing for a terminal: give --output FILE")


def copy_sheet(output: BinaryIO, write: Callable[[Path], object]) -> None:
    """Copy the spreadsheet that `write` makes to `output`; its writer needs a seekable file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.xlsx"
        write(path)
        with path.open("rb") as sheet:
            shutil.copyfileobj(sheet, output)


@contextlib.contextmanager
def output(path: Path | None) -> Iterator[BinaryIO]:
    """Open standard output, or a file that appears only when it is complete."""
    if path is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.stderr.close()  # the reader, such as `head`, has finished
        return
    with os_error_at(path), replacing(path, synced=False) as file:
        yield file
