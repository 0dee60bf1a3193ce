"""Standard output and error of every command: no printed character can act on the reader's terminal."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from cabinet import plain_text


class Printer:
    """A text stream that passes only text: signs replace escapes and invisible characters.

    Files that are not for reading on a terminal (a table, a spreadsheet) are written to `buffer`, as bytes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.beneath = stream

    def write(self, text: str) -> int:
        self.beneath.write(plain_text.lines(text))
        return len(text)

    def writelines(self, parts: Iterable[str]) -> None:
        for part in parts:
            self.write(part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)


@contextlib.contextmanager
def text_only() -> Iterator[None]:
    """Put both streams behind a `Printer` while a command runs."""
    before = sys.stdout, sys.stderr
    printers = Printer(sys.stdout), Printer(sys.stderr)
    sys.stdout, sys.stderr = (cast(TextIO, printer) for printer in printers)
    try:
        yield
    finally:  # if a command replaced a stream because its reader is gone, that stays
        if sys.stdout is cast(TextIO, printers[0]):
            sys.stdout = before[0]
        if sys.stderr is cast(TextIO, printers[1]):
            sys.stderr = before[1]


def progress(text: str, over: bool) -> None:
    """Show progress on standard error, over the previous line, if it is a terminal."""
    stream = getattr(sys.stderr, "beneath", sys.stderr)
    if stream.isatty():
        print(f"\r{plain_text.one_line(text)}", end="\n" if over else "", file=stream, flush=True)
