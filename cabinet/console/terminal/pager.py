"""Pager for long texts, and screen for live views. Text in, text out. Pure."""

from cabinet.console.terminal.columns import width

CLEAR = "\x1b[H\x1b[2J"
ERASE_LINE = "\x1b[K"


class Pager:
    """Pager: shows a text in pages of `rows` lines, the last of which is the prompt for more."""

    def __init__(self, text: str, rows: int, more: str) -> None:
        self._left = text.removesuffix("\n").split("\n")
        self._rows = max(2, rows)
        self._more = more

    def first(self) -> str:
        return self._next(self._rows - 1)

    def turn(self, key: bytes) -> tuple[str, bool]:
        """Return the text for a key, and True if the text is over.

        Space shows a page, Enter a line, `a` the rest; q or Ctrl-C ends the text.
        """
        if key in (b"q", b"Q", b"\x03", b"\x04"):
            return "\n", True
        if key in (b" ", b"f"):
            return self._turned(self._rows - 1)
        if key in (b"\r", b"\n"):
            return self._turned(1)
        if key in (b"a", b"A"):
            return self._turned(len(self._left))
        return "", False

    def _turned(self, count: int) -> tuple[str, bool]:
        shown = "\r" + " " * width(self._more) + "\r" + self._next(count)
        return shown, not self._left

    def _next(self, count: int) -> str:
        shown, self._left = self._left[:count], self._left[count:]
        return "".join(f"{line}\n" for line in shown) + (self._more if self._left else "")


class LiveScreen:
    """Screen of a live view: sends only the changes of each frame.

    If the terminal can move its cursor (`moves`), changed lines are redrawn in place, otherwise printed below.
    """

    def __init__(self, moves: bool) -> None:
        self._moves = moves
        self._shown: list[str] | None = None

    def frame(self, text: str) -> bytes:
        if not self._moves and not text:
            return b""  # no text yet
        lines = text.split("\n")
        before, self._shown = self._shown, lines
        if not self._moves:
            changed = lines if before is None else [line for line in lines if line not in before]
            return "".join(f"{line}\r\n" for line in changed).encode(errors="replace")
        if before is None:
            drawn = CLEAR + "".join(f"{line}\r\n" for line in lines)
        else:
            padded = [*before, *[""] * (len(lines) - len(before))]
            now = [*lines, *[""] * (len(before) - len(lines))]
            places = [(row, new) for row, (old, new) in enumerate(zip(padded, now, strict=True), 1) if old != new]
            drawn = "".join(f"\x1b[{row};1H{line}{ERASE_LINE}" for row, line in places)
            drawn += f"\x1b[{len(now) + 1};1H" if places else ""
        return drawn.encode(errors="replace")
