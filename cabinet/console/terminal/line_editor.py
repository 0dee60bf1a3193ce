"""Plain line editor: bytes from a port in, lines and their echo out. Pure.

Independent of ports, logins and commands. For any input (noise, broken UTF-8, escape sequences, a megabyte without a
line end) it holds at most `MAX_LINE` characters, and it never returns part of a longer line: half a command is a
different command.
"""

import codecs
import enum
import unicodedata
from collections.abc import Iterator

import msgspec

from cabinet import normal_form, plain_text
from cabinet.console.terminal.columns import width

MAX_LINE = 200  # characters
MAX_SEQUENCE = 32  # characters of an escape sequence; a longer one is noise


normal_line = normal_form.command_line
"""Normalise a line: full-width letters and digits become plain ones; Chinese punctuation stays."""


class ControlKey(enum.Enum):
    """Special key, pressed instead of entering a line."""

    INTERRUPT = "Ctrl-C"
    END = "Ctrl-D on an empty line"
    TOO_LONG = "Enter after more than MAX_LINE characters"


class Echo(msgspec.Struct, frozen=True):
    text: str


class EnteredLine(msgspec.Struct, frozen=True):
    text: str


class ControlSequence(msgspec.Struct, frozen=True):
    """A complete control sequence, from `ESC [` to its letter: a key without effect here, or the terminal's answer to a
    query."""

    sequence: str


class _Sequence(enum.Enum):
    """Parser state within an escape sequence (ECMA-48)."""

    NONE = 0
    AFTER_ESCAPE = 1
    CONTROL = 2  # ESC [ … until a letter
    SINGLE = 3  # ESC O and one more


class LineEditor:
    """Editor of the line being typed. With `secret` no input is echoed."""

    def __init__(self) -> None:
        self.secret = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._clear()
        self._sequence = _Sequence.NONE
        self._sequence_length = 0
        self._passed = ""  # characters of the current sequence
        self._after_return = False

    @property
    def typed(self) -> str:
        """The text typed so far."""
        return "".join(self._characters)

    def feed(self, data: bytes) -> Iterator[Echo | EnteredLine | ControlKey | ControlSequence]:
        """Yield the effects of `data` in order. `secret` may change between two of them and applies from then on."""
        for character in self._decoder.decode(data):
            yield from self._take(character)

    def reset(self) -> None:
        """Discard all partial input: the connection is lost."""
        self._decoder.reset()
        self._clear()
        self._sequence = _Sequence.NONE
        self._after_return = False

    def _clear(self) -> None:
        self._characters: list[str] = []
        self._too_long = False

    def _take(self, character: str) -> Iterator[Echo | EnteredLine | ControlKey | ControlSequence]:
        after_return, self._after_return = self._after_return, character == "\r"
        if self._sequence is not _Sequence.NONE and character in "\r\n\x03\x1b":
            self._sequence = _Sequence.NONE  # no sequence contains these: it was cut off
        if self._sequence is not _Sequence.NONE:
            yield from self._in_sequence(character)
        elif character == "\x1b":
            self._sequence, self._sequence_length = _Sequence.AFTER_ESCAPE, 0
        elif character == "\n" and after_return:
            return
        elif character in "\r\n":
            yield Echo("\n")
            yield self._entered()
        elif character in "\x08\x7f":
            yield from self._erase(1)
        elif character == "\x15":  # Ctrl-U
            yield from self._erase(len(self._characters))
            self._too_long = False
        elif character == "\x17":  # Ctrl-W
            yield from self._erase(self._last_word())
        elif character == "\x03":
            self._clear()
            yield Echo("^C\n")
            yield ControlKey.INTERRUPT
        elif character == "\x04":
            if not self._characters:
                yield ControlKey.END
        else:
            yield from self._type(character)

    def _in_sequence(self, character: str) -> Iterator[ControlSequence]:
        """Consume a character of an escape sequence: cursor keys have no effect in a plain line."""
        self._sequence_length += 1
        self._passed = character if self._sequence_length == 1 else self._passed + character
        starts = {"[": _Sequence.CONTROL, "O": _Sequence.SINGLE}
        if self._sequence is _Sequence.AFTER_ESCAPE:
            self._sequence = starts.get(character, _Sequence.NONE)
        elif self._sequence is _Sequence.SINGLE or "@" <= character <= "~" or self._sequence_length > MAX_SEQUENCE:
            if self._sequence is _Sequence.CONTROL and "@" <= character <= "~":
                yield ControlSequence(self._passed)
            self._sequence = _Sequence.NONE

    def _type(self, character: str) -> Iterator[Echo]:
        if character == "\t" or unicodedata.category(character) == "Zs":
            character = " "  # Chinese keyboards type a different blank
        elif plain_text.one_line(character) != character:
            return
        if len(self._characters) >= MAX_LINE:
            self._too_long = True
            return
        self._characters.append(character)
        if not self.secret:
            yield Echo(character)

    def _erase(self, count: int) -> Iterator[Echo]:
        for _ in range(min(count, len(self._characters))):
            erased = self._characters.pop()
            if not self.secret:
                yield Echo("\b \b" * width(erased))

    def _last_word(self) -> int:
        text = "".join(self._characters)
        return len(text) - (text.rstrip().rfind(" ") + 1)

    def _entered(self) -> EnteredLine | ControlKey:
        text, too_long = "".join(self._characters), self._too_long
        self._clear()
        return ControlKey.TOO_LONG if too_long else EnteredLine(text)
