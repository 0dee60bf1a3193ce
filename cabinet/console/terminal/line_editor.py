"""Line editor: bytes from a port in, lines and their echo out. Pure.

Independent of ports, logins and commands. For any input (noise, broken UTF-8, escape sequences, a megabyte without a
line end) it holds at most `MAX_LINE` characters, and it never returns part of a longer line: half a command is a
different command.

Drawing uses printable characters and backspaces only, so any terminal shows an edited line correctly. Keys that such a
terminal does not send (cursor, history, completion) have an effect only while `edits` is set.
"""

import codecs
import enum
import unicodedata
from collections.abc import Callable, Generator, Iterator

import msgspec

from cabinet import plain_text
from cabinet.console.terminal.columns import width

MAX_LINE = 200  # characters
MAX_SEQUENCE = 32  # characters of an escape sequence; a longer one is noise
MAX_REMEMBERED = 100  # lines of history


class ControlKey(enum.Enum):
    """Special key, pressed instead of entering a line."""

    INTERRUPT = "Ctrl-C"
    END = "Ctrl-D on an empty line"
    TOO_LONG = "Enter after more than MAX_LINE characters, or after noise"
    CLEAR_SCREEN = "Ctrl-L"


class Echo(msgspec.Struct, frozen=True):
    text: str


class EnteredLine(msgspec.Struct, frozen=True):
    text: str


class Completions(msgspec.Struct, frozen=True):
    """Several words that may follow, to be listed above the line."""

    words: list[str]


class ControlSequence(msgspec.Struct, frozen=True):
    """A complete control sequence, from `ESC [` to its letter: a key without effect here, or the terminal's answer to a
    query."""

    sequence: str


LineEvent = Echo | EnteredLine | Completions | ControlKey | ControlSequence


class Editing(msgspec.Struct, frozen=True):
    """Line editing for one account: `room` columns beside the prompt, its completions, and its history.

    `complete` returns the words that may replace the last one of a text. `history` is oldest first, and is extended.
    """

    room: int
    complete: Callable[[str], list[str]]
    history: list[str]


class _Sequence(enum.Enum):
    """Parser state within an escape sequence (ECMA-48)."""

    NONE = 0
    AFTER_ESCAPE = 1
    CONTROL = 2  # ESC [ … until a letter
    SINGLE = 3  # ESC O and one more


class LineEditor:
    """Editor of the line being typed. With `secret` no input is echoed; `edits` None: a plain line."""

    def __init__(self) -> None:
        self.secret = False
        self.edits: Editing | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._sequence = _Sequence.NONE
        self._passed = ""  # characters of the current sequence
        self._after_return = False
        self._clear()

    def feed(self, data: bytes) -> Iterator[LineEvent]:
        """Yield the effects of `data` in order. `secret` and `edits` may change between two of them, effective then."""
        for character in self._decoder.decode(data):
            yield from self._take(character)

    def reset(self) -> None:
        """Discard all partial input: the connection is lost."""
        self._decoder.reset()
        self._clear()
        self._sequence = _Sequence.NONE
        self._after_return = False

    def redrawn(self) -> str:
        """Return the line typed so far, with the cursor in its place, to follow a newly drawn prompt."""
        self._shown, self._shown_cursor = "", 0
        self._drawn = ("", -1)
        return self._changes()

    def _clear(self) -> None:
        self._characters: list[str] = []
        self._cursor = 0  # place of the next character
        self._left = 0  # first character shown: a long line scrolls sideways
        self._shown, self._shown_cursor = "", 0  # as the terminal shows it
        self._drawn = ("", -1)  # line and cursor that this is drawn from; a cursor of -1: not drawn yet
        self._too_long = False
        self._noisy = False  # it holds broken characters and is not typed by a person: it is not run
        self._recalled: int | None = None  # place in the history; None: the line is typed
        self._draft = ""  # the line typed before the history was searched

    def _take(self, character: str) -> Iterator[LineEvent]:
        after_return, self._after_return = self._after_return, character == "\r"
        if self._sequence is not _Sequence.NONE and character in "\r\n\x03\x1b":
            self._sequence = _Sequence.NONE  # no sequence contains these: it was cut off
        if self._sequence is not _Sequence.NONE:
            yield from self._in_sequence(character)
        elif character == "\x1b":
            self._sequence, self._passed = _Sequence.AFTER_ESCAPE, ""
        elif character == "\n" and after_return:
            return
        elif character in "\r\n":
            yield Echo("\n")
            yield self._entered()
        elif character == "\x03":
            self._clear()
            yield Echo("^C\n")
            yield ControlKey.INTERRUPT
        elif character == "\x04" and not self._characters:
            yield ControlKey.END
        elif character in "\x08\x7f":
            self._erase(1)
        elif character == "\x15":  # Ctrl-U
            self._erase_line()
        elif character == "\x17":  # Ctrl-W
            self._erase_word()
        elif self.edits is None or not (yield from self._edited(character)):
            self._type(character)
        if (drawn := self._changes()) != "":
            yield Echo(drawn)

    def _edited(self, key: str) -> Generator[LineEvent, None, bool]:
        """Carry out an editing key, a character or a sequence. Return False if it is none."""
        if key == "\x0c":
            yield ControlKey.CLEAR_SCREEN
        elif key == "\t" and not self._noisy:
            yield from self._complete()
        elif key in _EDITING_KEYS:
            act, count = _EDITING_KEYS[key]
            act(self, count)
        else:
            return False
        return True

    def _in_sequence(self, character: str) -> Iterator[LineEvent]:
        self._passed += character
        starts = {"[": _Sequence.CONTROL, "O": _Sequence.SINGLE}
        if self._sequence is _Sequence.AFTER_ESCAPE:
            self._sequence = starts.get(character, _Sequence.NONE)
            return
        if self._sequence is _Sequence.CONTROL and not "@" <= character <= "~" and len(self._passed) <= MAX_SEQUENCE:
            return
        complete = self._sequence is _Sequence.SINGLE or "@" <= character <= "~"
        self._sequence = _Sequence.NONE
        edited = self.edits is not None and (yield from self._edited(self._passed))
        if complete and not edited and self._passed[0] == "[":
            yield ControlSequence(self._passed)

    # --- changes of the line -----------------------------------------------------------------------------------------

    def _type(self, character: str) -> None:
        if character == "\t" or unicodedata.category(character) == "Zs":
            character = " "  # Chinese keyboards type a different blank
        elif plain_text.one_line(character) != character:
            return
        self._noisy |= character == "\ufffd" and self.edits is not None
        if self._noisy:
            return
        if len(self._characters) >= MAX_LINE:
            self._too_long = True
            return
        self._characters.insert(self._cursor, character)
        self._cursor += 1
        self._recalled = None

    def _erase(self, count: int) -> None:
        """Erase characters before the cursor."""
        start = max(0, self._cursor - count)
        del self._characters[start : self._cursor]
        self._cursor = start
        self._recalled = None

    def _erase_word(self) -> None:
        before = "".join(self._characters[: self._cursor])
        self._erase(len(before) - (before.rstrip().rfind(" ") + 1))

    def _erase_line(self) -> None:
        self._replace("")
        self._recalled = None
        self._too_long = False

    def _delete(self, count: int) -> None:
        """Delete characters from the cursor on."""
        del self._characters[self._cursor : self._cursor + count]
        self._recalled = None

    def _move(self, by: int) -> None:
        self._cursor = min(max(0, self._cursor + by), len(self._characters))

    def _replace(self, text: str) -> None:
        self._characters = list(text[:MAX_LINE])
        self._cursor = len(self._characters)

    def _recall(self, step: int) -> None:
        """Show the next older (-1) or newer (1) line of the history that begins with the text typed."""
        if self.edits is None or self._noisy:
            return
        history = self.edits.history
        if self._recalled is None:
            self._recalled, self._draft = len(history), "".join(self._characters)
        place = self._recalled + step
        while 0 <= place < len(history) and not history[place].startswith(self._draft):
            place += step
        if place >= 0:
            self._recalled = min(place, len(history))
            self._replace(history[place] if place < len(history) else self._draft)

    def _complete(self) -> Iterator[Completions]:
        """Extend the last word before the cursor as far as it is unambiguous; list the words if it is not."""
        assert self.edits is not None
        before = "".join(self._characters[: self._cursor])
        last = before[before.rfind(" ") + 1 :]
        words = self.edits.complete(before)
        first, last_one = min(words, default=""), max(words, default="")
        common = first[: _same(first, last_one)]
        if len(common) > len(last):
            self._erase(len(last))
            for character in common:
                self._type(character)
        elif len(words) > 1:
            yield Completions(words)

    def _entered(self) -> EnteredLine | ControlKey:
        text, rejected = "".join(self._characters), self._too_long or self._noisy
        self._clear()
        if rejected:
            return ControlKey.TOO_LONG
        if self.edits is not None and text.strip() and self.edits.history[-1:] != [text]:
            self.edits.history.append(text)
            del self.edits.history[:-MAX_REMEMBERED]
        return EnteredLine(text)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def _changes(self) -> str:
        """Return the characters and backspaces from the line as the terminal shows it to the line as it is."""
        line = ("".join(self._characters), self._cursor)
        if self.secret or line == self._drawn:
            return ""
        self._drawn = line
        old, old_cursor = self._shown, self._shown_cursor
        new, cursor = self._window(*line)
        self._shown, self._shown_cursor = new, cursor
        if old == new:
            return _back(new[cursor:old_cursor]) + new[old_cursor:cursor]
        same = _same(old, new)
        to_same = _back(old[same:old_cursor]) + old[old_cursor:same]
        surplus = max(0, width(old[same:]) - width(new[same:]))
        return to_same + new[same:] + " " * surplus + "\b" * surplus + _back(new[cursor:])

    def _window(self, text: str, cursor: int) -> tuple[str, int]:
        """Return the part of the line that fits beside the prompt, and the place of the cursor in it."""
        if self.edits is None:
            return text, cursor
        room = self.edits.room
        if width(text) <= room:
            self._left = 0
        elif 0 < self._left >= cursor or width(text[self._left : cursor]) > room:  # text is before it
            self._left = cursor - _fitting(text[:cursor][::-1], room // 2)
        shown = text[self._left :]
        return shown[: _fitting(shown, room)], cursor - self._left


def _back(text: str) -> str:
    return "\b" * width(text)


def _same(one: str, other: str) -> int:
    """Return the number of characters with which both begin."""
    differing = (n for n, (mine, its) in enumerate(zip(one, other, strict=False)) if mine != its)
    return next(differing, min(len(one), len(other)))


def _fitting(text: str, columns: int) -> int:
    """Return the number of characters of `text` that fit into `columns`."""
    taken = 0
    for count, character in enumerate(text):
        taken += width(character)
        if taken > columns:
            return count
    return len(text)


_move, _recall, _delete = LineEditor._move, LineEditor._recall, LineEditor._delete
_EDITING_KEYS: dict[str, tuple[Callable[[LineEditor, int], None], int]] = {
    "[D": (_move, -1), "OD": (_move, -1), "\x02": (_move, -1),
    "[C": (_move, 1), "OC": (_move, 1), "\x06": (_move, 1),
    "[H": (_move, -MAX_LINE), "OH": (_move, -MAX_LINE), "[1~": (_move, -MAX_LINE), "[7~": (_move, -MAX_LINE),
    "[F": (_move, MAX_LINE), "OF": (_move, MAX_LINE), "[4~": (_move, MAX_LINE), "[8~": (_move, MAX_LINE),
    "\x01": (_move, -MAX_LINE), "\x05": (_move, MAX_LINE),
    "[A": (_recall, -1), "OA": (_recall, -1), "[B": (_recall, 1), "OB": (_recall, 1),
    "[3~": (_delete, 1), "\x04": (_delete, 1), "\x0b": (_delete, MAX_LINE),
}  # fmt: skip
"""Keys of a terminal with a cursor, without the escape character: the sequences of xterm, VT220 and rxvt.

The history has no one-byte key, such as Ctrl-P: noise would recall and enter a command too easily.
"""
