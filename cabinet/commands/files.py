"""Files that commands write: to standard output as bytes, or to a file that is there as a whole or not at all."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cabinet.errors import CabinetError


def check_not_terminal(form: str, path: Path | None) -> None:
    """Raises CabinetError for a spreadsheet that would go to a terminal."""
    if form == "xlsx" and path is None and sys.stdout.isatty():
        raise CabinetError("a spreadsheet is nothing for a terminal: give --output FILE")


def copy_sheet(output: BinaryIO, write: Callable[[Path], object]) -> None:
    """Copy the spreadsheet that `write` makes; its writer needs a file that it can go back in."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.xlsx"
        write(path)
        with path.open("rb") as sheet:
            shutil.copyfileobj(sheet, output)


@contextlib.contextmanager
def output(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there as a whole or not at all."""
    if path is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.stderr.close()  # whoever read has seen enough, such as `head`
        return
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CabinetError(f"{path}: {error.strerror}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
