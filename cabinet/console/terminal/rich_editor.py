"""Rich line editing by prompt_toolkit, if the terminal supports it: cursor keys, history, completion. Bytes in and out.

prompt_toolkit requires an event loop, a terminal and a screen of its own. Here the loop runs only within a call, the
input is fed, and the output is collected: no part of it waits, reads a file or catches a signal, and it can be tested
in the same way as the plain editor.
"""

import asyncio
import codecs
import contextlib
import io
from collections.abc import Callable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.base import Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from cabinet import normal_form
from cabinet.console.terminal.line_editor import MAX_LINE, ControlKey, Echo, EnteredLine

MAX_REMEMBERED = 100  # lines of history
KEYS_A_LINE = 1000  # more keys without an Enter are noise
KEYS_AT_ONCE = 64
ROUNDS = 12  # loop iterations per call; three are needed from keys to a drawn line
PASTE = "\x1b[200~"  # begins a bracketed paste, which the library would buffer without a limit; never enabled here
# Terminals send these only on request, and this code never requests them: they are noise, which the library would
# accept without a check of its form.
ANSWERS = frozenset({Keys.Vt100MouseEvent, Keys.WindowsMouseEvent, Keys.CPRResponse, Keys.BracketedPaste})
NEEDLESS = (
    ("\x1b[?25l", ""), ("\x1b[?12l\x1b[?25h", ""),  # cursor hidden and shown
    ("\x1b[?2004l", ""), ("\x1b[?1l", ""),  # modes that were never set
    ("\x1b[?7l\x1b[?7h", ""),  # wrapping off and on, with nothing drawn in between
    ("\x1b[0m\x1b[0m", "\x1b[0m"),
)  # fmt: skip

Complete = Callable[[str], list[str]]  # text -> completions: whole words that replace its last one


class _Interrupted(Exception):
    """Raised on Ctrl-C."""


class _Ended(Exception):
    """Raised on Ctrl-D on an empty line."""


class RichEditor:
    """Line editing of one terminal. `use` it for a login, `begin` a line, `feed` it; begin again after its end.

    Create only one per process: the library never releases the 70 kB of an instance.
    """

    def __init__(self) -> None:
        self._offered: Complete = lambda text: []
        self._size = Size(rows=24, columns=80)
        self._loop = asyncio.new_event_loop()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._input = _FedInput()
        self._screen = _Screen()
        self._history = InMemoryHistory()
        self._session = self._new_session()
        self._task: asyncio.Task[str] | None = None
        self._too_long = False
        self._noisy = False  # not a line typed by a person: ignored until it ends
        self._keys = 0
        self._tail = ""

    def use(self, complete: Complete, remembered: list[str], rows: int, columns: int) -> None:
        """Prepare for a login: its completions, its history, and the size of its terminal."""
        self._offered = complete
        self._size = Size(rows=rows, columns=columns)
        self._remember(remembered)

    @property
    def remembered(self) -> list[str]:
        """The history, oldest first."""
        return list(self._history.get_strings())[-MAX_REMEMBERED:]

    def begin(self, prompt: str, typed: str = "") -> bytes:
        """Return the bytes that show the prompt and the text typed so far."""
        self._abandon()
        if len(self._history.get_strings()) > 2 * MAX_REMEMBERED:
            self._remember(self.remembered)
        self._too_long = self._noisy = False
        self._keys = 0
        self._task = self._loop.create_task(self._ask(FormattedText([("bold", prompt)]), typed))
        self._pump()
        return self._screen.taken()

    def feed(self, data: bytes) -> Iterator[Echo | EnteredLine | ControlKey]:
        """Yield the effects of `data`, which must hold at most one Enter, Ctrl-C or Ctrl-D, and end with it."""
        text = "".join(self._without_paste(self._decoder.decode(data)))
        self._keys += len(text)
        if "\ufffd" in text or self._keys > KEYS_A_LINE:
            self._too_long = self._noisy = True  # not typed by a person: not processed further, and not run
        if self._noisy:
            text = text[-1:] if text.endswith(("\r", "\n", "\x03")) else ""
        for start in range(0, len(text), KEYS_AT_ONCE):
            piece = text[start : start + KEYS_AT_ONCE]
            if not (self._too_long and piece.isprintable()):
                self._input.put(piece)
                self._pump()
        yield Echo(self._screen.taken().decode())
        ended = self._result()
        if ended is not None:
            yield ended

    def tick(self) -> bytes:
        """Process timed events, such as a lone Escape."""
        self._pump()
        return self._screen.taken()

    def announce(self, text: str) -> bytes:
        """Return the bytes that show `text` above the line being typed."""
        app = self._session.app
        app.renderer.erase()
        self._screen.write(text.replace("\n", "\r\n") + "\r\n")
        app.invalidate()
        self._pump()
        return self._screen.taken()

    def leave(self) -> None:
        """Discard the line and the history of its account."""
        self._abandon()
        self._remember([])
        self._decoder.reset()

    def _remember(self, lines: list[str]) -> None:
        self._history = self._session.history = InMemoryHistory(lines[-MAX_REMEMBERED:])
        self._session.default_buffer.history = self._history

    async def _ask(self, prompt: FormattedText, typed: str) -> str:
        return await self._session.prompt_async(prompt, default=typed, set_exception_handler=False, handle_sigint=False)

    def _result(self) -> EnteredLine | ControlKey | None:
        task = self._task
        if task is None or not task.done():
            return None
        self._task = None
        error = task.exception()
        if isinstance(error, _Interrupted):
            return ControlKey.INTERRUPT
        if isinstance(error, _Ended):
            return ControlKey.END
        if error is not None:
            raise error
        return ControlKey.TOO_LONG if self._too_long else EnteredLine(normal_form.command_line(task.result()))

    def _abandon(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            self._pump()
        if task is not None and task.done() and not task.cancelled():
            task.exception()  # retrieved, else asyncio reports it later as unhandled
        self._input.forget()
        self._screen.taken()

    def _pump(self) -> None:
        """Run the event loop until it is idle."""

        async def rounds() -> None:
            for _ in range(ROUNDS):
                await asyncio.sleep(0)

        self._loop.run_until_complete(rounds())

    def _without_paste(self, text: str) -> Iterator[str]:
        for character in text:
            self._tail = (self._tail + character)[-len(PASTE) :]
            if self._tail == PASTE:
                self._input.forget()
            else:
                yield character

    def _new_session(self) -> "PromptSession[str]":
        output = Vt100_Output(self._screen, lambda: self._size, term="xterm", enable_bell=False, enable_cpr=False)
        output.enable_bracketed_paste = lambda: None  # type: ignore[method-assign]
        session: PromptSession[str] = PromptSession(
            history=self._history,
            completer=_Words(lambda text: self._offered(text)),
            complete_while_typing=False,  # on a slow line, completions appear only on request
            complete_style=CompleteStyle.READLINE_LIKE,
            color_depth=ColorDepth.DEPTH_4_BIT,
            enable_history_search=True,
            interrupt_exception=_Interrupted,
            eof_exception=_Ended,
            input=self._input,
            output=output,
        )
        session.app.ttimeoutlen = 0.3
        session.app.max_render_postpone_time = None
        session.default_buffer.on_text_changed += self._limit
        return session

    def _limit(self, buffer: Buffer) -> None:
        if len(buffer.text) > MAX_LINE:
            self._too_long = True
            buffer.document = Document(buffer.text[:MAX_LINE], MAX_LINE)
        elif not buffer.text:
            self._too_long = False  # erased: the input from here on is a new line


class _Words(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        last = text[text.rfind(" ") + 1 :]
        for word in self._complete(text):
            yield Completion(word, start_position=-len(last))


class _FedInput(Input):
    """Input that turns fed text into keys."""

    def __init__(self) -> None:
        self._keys: list[KeyPress] = []
        self._parser = Vt100Parser(self._keys.append)
        self._ready: Callable[[], None] | None = None

    def put(self, text: str) -> None:
        self._parser.feed(text)
        self._keys[:] = [key for key in self._keys if key.key not in ANSWERS]
        if self._ready is not None and self._keys:
            self._ready()

    def forget(self) -> None:
        self._parser.reset()
        self._keys.clear()

    def fileno(self) -> int:
        raise io.UnsupportedOperation("no file")

    def typeahead_hash(self) -> str:
        return f"fed {id(self)}"

    def read_keys(self) -> list[KeyPress]:
        keys = list(self._keys)
        self._keys.clear()
        return keys

    def flush_keys(self) -> list[KeyPress]:
        self._parser.flush()
        return self.read_keys()

    @property
    def closed(self) -> bool:
        return False

    def raw_mode(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def cooked_mode(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def attach(self, input_ready_callback: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        return self._attached(input_ready_callback)

    @contextlib.contextmanager
    def _attached(self, callback: Callable[[], None]) -> Iterator[None]:
        before, self._ready = self._ready, callback
        try:
            yield
        finally:
            self._ready = before

    def detach(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class _Screen(io.StringIO):
    """Output buffer: keeps the drawn text until it is taken."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def taken(self) -> bytes:
        """Return the drawn bytes without sequences that a prompt line does not need: 20 bytes per key instead of 75."""
        drawn = self.getvalue()
        self.seek(0)
        self.truncate()
        for needless, needed in NEEDLESS:
            drawn = drawn.replace(needless, needed)
        return drawn.encode(errors="replace")
