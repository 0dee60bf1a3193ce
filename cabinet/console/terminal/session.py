"""Adapter between serial port and dialogue: bytes in, bytes out, in the form that the terminal supports.

An unknown terminal gets plain lines. A terminal that has answered the device query (or that its owner has set to
`full`) gets line editing, colours and pages. A program gets one line of JSON per request. Waits only for the guard.
"""

import logging
import re
from collections.abc import Iterator
from typing import Literal

from cabinet.clock import NS, Clock
from cabinet.console import registry
from cabinet.console.command import LineMode
from cabinet.console.command_line import notice_json, reply_json
from cabinet.console.completion import complete
from cabinet.console.reply import Reply
from cabinet.console.shell import Shell
from cabinet.console.terminal.colours import BOLD, PLAIN, Colours
from cabinet.console.terminal.columns import COLUMNS, GAP, fold, width
from cabinet.console.terminal.line_editor import (
    Completions,
    ControlKey,
    ControlSequence,
    Echo,
    Editing,
    LineEditor,
    LineEvent,
)
from cabinet.console.terminal.pager import CLEAR, ERASE_LINE, LiveScreen, Pager
from cabinet.console.wording import wording
from cabinet.errors import Refused

log = logging.getLogger(__name__)

QUERY_DEVICE = b"\x1b[c"  # primary device attributes (ECMA-48 DA); a terminal answers ESC [ ? ... c
QUERY_SIZE = b"\x1b7\x1b[999;999H\x1b[6n\x1b8"  # cursor to the far corner, report its position, restore it
QUERY_TIMEOUT_NS = 3 * NS  # over a slow line, with a person typing in between
BITS_A_BYTE = 10  # 8N1
MIN_ROOM = 4  # columns beside a prompt on a very narrow terminal
MIN_SIZE, MAX_SIZE = 4, 500  # bounds of plausible rows and columns

_WHAT_IT_IS = re.compile(r"\[\?[0-9;]*c")
_SIZE = re.compile(r"\[(\d{1,4});(\d{1,4})R")
_PIECES = re.compile(rb"[^\r\n\x03\x04]*[\r\n\x03\x04]|[^\r\n\x03\x04]+")


class TerminalSession:
    """Editor, dialogue and screen of one serial port. `baud` limits the frame rate of live views."""

    def __init__(self, shell: Shell, clock: Clock, baud: int = 115_200) -> None:
        self._shell = shell
        self._clock = clock
        self._baud = baud
        self._editor = LineEditor()
        self._line_mode: Literal["plain", "full", "machine"] = "plain"
        self._rows: int | None = None  # rows per page, set by the account's owner; None: as the terminal reports
        self._size: tuple[int, int] | None = None  # rows and columns, as the terminal reports
        self._query_deadline_ns: int | None = None  # deadline of the device query; None: no query is open
        self._prompt = ""
        self._pager: Pager | None = None
        self._live: LiveScreen | None = None
        self._busy_until_ns = 0
        self._after_return = False
        self.discard_typeahead = False  # the last input led to a question: earlier input is no answer to it
        self._history: dict[str, list[str]] = {}  # by account; kept until the process ends

    def greet(self) -> bytes:
        return self._sent(self._out(self._shell.greet()))

    def take(self, data: bytes) -> bytes:
        """Process typed `data`; return the bytes for the terminal."""
        out = b""
        skip_until = 0
        for found in _PIECES.finditer(data):
            if found.end() <= skip_until:
                continue
            piece = found[0]
            after_return, self._after_return = self._after_return, piece.endswith(b"\r")
            if piece == b"\n" and after_return:
                continue  # one Enter
            self.discard_typeahead = False
            out += self._take_piece(piece)
            if self.discard_typeahead:  # the rest was typed before the question was readable; only a Ctrl-C counts
                interrupt = data.find(b"\x03", found.end())
                skip_until = len(data) if interrupt < 0 else interrupt
        return self._sent(out)

    def tick(self) -> bytes:
        """Return the output that is due now. Call several times a second."""
        now_ns = self._clock.monotonic_ns()
        self.discard_typeahead = False
        if self._query_deadline_ns is not None and now_ns >= self._query_deadline_ns:
            self._query_deadline_ns = None
        if self._live is not None and now_ns < self._busy_until_ns:
            return b""  # the line still sends the previous frame
        out = b""
        for notice in self._shell.notices():
            out += self._announced(notice_json(notice) if self._is_machine else self._shell.notice_text(notice))
        reply = self._shell.tick()
        if reply is not None:
            out += self._interrupted_by(reply)
        return self._sent(out)

    def hang_up(self) -> None:
        self._editor.reset()
        self._line_mode = "plain"
        self._pager = self._live = None
        self._query_deadline_ns = self._size = self._rows = None
        self._shell.hang_up()

    # --- input -------------------------------------------------------------------------------------------------------

    def _take_piece(self, piece: bytes) -> bytes:
        """Process a part of a line, or the rest of a line with its end."""
        if self._live is not None:  # any key ends the live view
            self._live = None
            return b"\r\n" + self._out(self._shell.interrupt())
        if self._pager is not None:
            return self._turn_page(piece)
        return b"".join(self._done(happened) for happened in self._edited(piece))

    def _edited(self, piece: bytes) -> Iterator[LineEvent]:
        """Yield the events of the line editor. A defect of it costs the line and the line editing, not the console."""
        try:
            yield from self._editor.feed(piece)
        except Exception:
            log.exception("the line editor failed: the console goes on with plain lines")
            self._editor.reset()
            if not self._is_machine:
                self._line_mode = "plain"
            yield Echo("\n")
            yield ControlKey.INTERRUPT

    def _done(self, happened: LineEvent) -> bytes:
        """Process an event of the line editor."""
        match happened:
            case Echo():
                return b"" if self._is_machine else encoded(happened.text)
            case ControlSequence():
                return self._heard(happened.sequence)
            case Completions():
                return encoded("\n".join(["", *fold(GAP.join(happened.words)), ""])) + self._prompted()
            case ControlKey.CLEAR_SCREEN:
                return CLEAR.encode() + self._prompted()
            case ControlKey.INTERRUPT:
                return self._out(self._shell.interrupt())
            case ControlKey.END:
                return self._out(self._shell.end())
            case ControlKey.TOO_LONG:
                too_long = self._shell.too_long()
                if self._is_machine:
                    return encoded(reply_json(Refused("too_long"), wording(self._shell.language)) + "\n")
                return self._out(too_long)
        if not (self._is_machine and self._shell.at_command):
            return self._out(self._shell.line(happened.text))
        answer = self._shell.machine_line(happened.text)
        return self._out(answer) if isinstance(answer, Reply) else encoded(answer)

    def _turn_page(self, piece: bytes) -> bytes:
        assert self._pager is not None
        out = b""
        while piece and self._pager is not None:
            key, piece = piece[:1], piece[1:]
            shown, over = self._pager.turn(key)
            out += encoded(shown)
            if over:
                self._pager = None
                out += self._prompted()
        return out + (self._take_piece(piece) if piece else b"")

    # --- terminal detection ------------------------------------------------------------------------------------------

    def _heard(self, sequence: str) -> bytes:
        """Process the terminal's answer, if a query is open."""
        if self._query_deadline_ns is None:
            return b""
        if _WHAT_IT_IS.fullmatch(sequence):
            return QUERY_SIZE
        if (size := _SIZE.fullmatch(sequence)) is not None:
            self._query_deadline_ns = None
            rows, columns = int(size[1]), int(size[2])
            if rows in range(MIN_SIZE, MAX_SIZE) and columns in range(MIN_SIZE, MAX_SIZE):
                self._size = (rows, columns)
            return self._become_full()
        return b""

    def _use(self, mode: LineMode) -> bytes:
        """Apply a line mode: chosen by the account's owner or by a program."""
        self._rows = mode.rows
        self._line_mode = "plain" if mode.kind == "auto" else mode.kind
        if mode.kind == "auto":
            self._query_deadline_ns = self._clock.monotonic_ns() + QUERY_TIMEOUT_NS
            return QUERY_DEVICE
        return b""

    def _become_full(self) -> bytes:
        """Switch from plain lines to line editing; the text typed so far stays."""
        if not self._shell.at_command or self._is_machine:
            return b""
        self._line_mode = "full"
        return encoded(f"\r{ERASE_LINE}") + self._prompted()

    # --- output ------------------------------------------------------------------------------------------------------

    def _out(self, reply: Reply) -> bytes:
        """Return the reply's text, as a page or a live frame if it is one; then the prompt."""
        self._editor.secret = reply.secret
        self.discard_typeahead = reply.asks
        asked = b""
        if reply.mode is not None:
            asked = self._use(reply.mode)
        self._prompt = reply.prompt
        if reply.live_s is not None:
            self._live = LiveScreen(self._line_mode == "full" and reply.redraws)
            return self._live.frame(self._coloured(reply.text))
        self._live = None
        text = f"{self._coloured(reply.text)}\n" if reply.text else ""
        rows = self._page_rows()
        if rows and text.count("\n") >= rows:
            self._pager = Pager(text, rows, wording(self._shell.language)("terminal.more"))
            return encoded(self._pager.first())
        return encoded(text) + self._prompted() + asked

    def _prompted(self) -> bytes:
        """Return the prompt and the line typed so far."""
        account = self._shell.account if self._shell.at_command else None
        self._editor.edits = None
        if account is not None and self._is_machine:
            return b""
        prompt = self._prompt
        if account is not None and self._line_mode == "full":
            commands = registry.allowed(account.level)
            columns = self._size[1] if self._size is not None else COLUMNS
            self._editor.edits = Editing(
                max(MIN_ROOM, columns - width(prompt) - 1),  # terminals differ in the effect of a full last column
                lambda text: complete(text, commands, self._shell.config),
                self._history.setdefault(account.name, []),
            )
            prompt = f"{BOLD}{prompt}{PLAIN}"
        return encoded(prompt + self._editor.redrawn())

    def _interrupted_by(self, reply: Reply) -> bytes:
        """Return the bytes of an unsolicited reply: the next live frame, or the end of a question or a login."""
        if self._live is not None and reply.live_s is not None:
            return self._live.frame(self._coloured(reply.text))
        self._editor.reset()
        begun = b"" if self._live is not None else b"\r\n"  # ends the line being typed; a live frame has none
        self._pager = None
        if self._is_machine and not self._shell.logged_in:
            self._line_mode = "plain"
        return begun + self._out(reply)

    def _announced(self, text: str) -> bytes:
        """Return a notice as a separate line, followed by the input line again."""
        if self._is_machine:
            return encoded(text + "\n")
        if self._pager is not None:
            return b""  # the next status display shows it
        place = "\n" if self._editor.edits is None else f"\r{ERASE_LINE}"
        return encoded(f"{place}{self._coloured(text)}\n") + self._prompted()

    def _coloured(self, text: str) -> str:
        return Colours.of(self._shell.language).paint(text) if self._line_mode == "full" else text

    def _page_rows(self) -> int:
        """Return the rows per page; 0 if there is no paging."""
        if self._is_machine or not self._shell.logged_in:
            return 0
        if self._rows is not None:
            return self._rows
        return self._size[0] if self._line_mode == "full" and self._size is not None else 0

    @property
    def _is_machine(self) -> bool:
        return self._line_mode == "machine"

    def _sent(self, out: bytes) -> bytes:
        """Record how long the line needs to send `out`, and return `out`."""
        now_ns = self._clock.monotonic_ns()
        self._busy_until_ns = max(self._busy_until_ns, now_ns) + len(out) * BITS_A_BYTE * NS // self._baud
        return out


def encoded(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode(errors="replace")
