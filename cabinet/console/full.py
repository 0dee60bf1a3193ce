"""Line editing on a terminal that can: cursor keys, history, completion, by prompt_toolkit. Bytes in, bytes out.

prompt_toolkit wants an event loop, a terminal and a screen of its own. Here it gets a loop that runs only within a
call, an input that is fed, and an output that is collected: nothing of it waits, reads a file or catches a signal, and
it can be tested as the plain editor can.
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
from cabinet.console.editing import LONGEST_LINE, Echo, Key, Line

MOST_REMEMBERED = 100  # lines of history
KEYS_A_LINE = 1000  # more without an Enter is noise
KEYS_AT_ONCE = 64
ROUNDS = 12  # of the loop within a call: from keys to a drawn line it takes three
PASTE = "\x1b[200~"  # begins a bracketed paste, which would be kept without a bound; never asked for here
# What a terminal sends only when asked, which this one never is: from noise, and the library trusts its form.
ANSWERS = frozenset({Keys.Vt100MouseEvent, Keys.WindowsMouseEvent, Keys.CPRResponse, Keys.BracketedPaste})
NEEDLESS = (
    ("\x1b[?25l", ""), ("\x1b[?12l\x1b[?25h", ""),  # the cursor hidden and shown
    ("\x1b[?2004l", ""), ("\x1b[?1l", ""),  # modes that were never set
    ("\x1b[?7l\x1b[?7h", ""),  # no wrapping, and nothing drawn
    ("\x1b[0m\x1b[0m", "\x1b[0m"),
)  # fmt: skip

Complete = Callable[[str], list[str]]  # what may follow the text: whole words in place of its last one


class _Interrupted(Exception):
    """Ctrl-C."""


class _Ended(Exception):
    """Ctrl-D on an empty line."""


class FullEditor:
    """Line editing of one terminal. `use` it for a login, `begin` a line, `feed` it; begin again after `Line` or `Key`.

    One is enough for a process, and more are too many: the library keeps 70 kB of each for ever.
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
        self._noisy = False  # no line that a person types: passed over until it ends
        self._keys = 0
        self._tail = ""

    def use(self, complete: Complete, remembered: list[str], rows: int, columns: int) -> None:
        """For another login: what it may complete, what it typed before, and how big its terminal is."""
        self._offered = complete
        self._size = Size(rows=rows, columns=columns)
        self._remember(remembered)

    @property
    def remembered(self) -> list[str]:
        """The history, oldest first."""
        return list(self._history.get_strings())[-MOST_REMEMBERED:]

    def begin(self, prompt: str, typed: str = "") -> bytes:
        """Show the prompt, with what was typed already."""
        self._abandon()
        if len(self._history.get_strings()) > 2 * MOST_REMEMBERED:
            self._remember(self.remembered)
        self._too_long = self._noisy = False
        self._keys = 0
        self._task = self._loop.create_task(self._ask(FormattedText([("bold", prompt)]), typed))
        self._pump()
        return self._screen.taken()

    def feed(self, data: bytes) -> Iterator[Echo | Line | Key]:
        """What `data` does; it must hold at most one Enter, Ctrl-C or Ctrl-D, and end with it."""
        text = "".join(self._without_paste(self._decoder.decode(data)))
        self._keys += len(text)
        if "\ufffd" in text or self._keys > KEYS_A_LINE:
            self._too_long = self._noisy = True  # nobody types that: it costs nothing more, and is not run
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
        """What has become due, such as a lone Escape."""
        self._pump()
        return self._screen.taken()

    def announce(self, text: str) -> bytes:
        """Lines above the one that is being typed."""
        app = self._session.app
        app.renderer.erase()
        self._screen.write(text.replace("\n", "\r\n") + "\r\n")
        app.invalidate()
        self._pump()
        return self._screen.taken()

    def leave(self) -> None:
        """Forget the line and whose it was."""
        self._abandon()
        self._remember([])
        self._decoder.reset()

    def _remember(self, lines: list[str]) -> None:
        self._history = self._session.history = InMemoryHistory(lines[-MOST_REMEMBERED:])
        self._session.default_buffer.history = self._history

    async def _ask(self, prompt: FormattedText, typed: str) -> str:
        return await self._session.prompt_async(prompt, default=typed, set_exception_handler=False, handle_sigint=False)

    def _result(self) -> Line | Key | None:
        task = self._task
        if task is None or not task.done():
            return None
        self._task = None
        error = task.exception()
        if isinstance(error, _Interrupted):
            return Key.INTERRUPT
        if isinstance(error, _Ended):
            return Key.END
        if error is not None:
            raise error
        return Key.TOO_LONG if self._too_long else Line(normal_form.command_line(task.result()))

    def _abandon(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            self._pump()
        if task is not None and task.done() and not task.cancelled():
            task.exception()  # looked at, so that nobody complains of it later
        self._input.forget()
        self._screen.taken()

    def _pump(self) -> None:
        """Let everything happen that can happen now."""

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
            complete_while_typing=False,  # on a slow line nothing comes that was not asked for
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
        if len(buffer.text) > LONGEST_LINE:
            self._too_long = True
            buffer.document = Document(buffer.text[:LONGEST_LINE], LONGEST_LINE)
        elif not buffer.text:
            self._too_long = False  # erased: what is typed from here on is another line


class _Words(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        last = text[text.rfind(" ") + 1 :]
        for word in self._complete(text):
            yield Completion(word, start_position=-len(last))


class _FedInput(Input):
    """Keys of bytes that were handed over."""

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
    """Keeps what is drawn until it is taken."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def taken(self) -> bytes:
        """Without what makes no difference on the line of a prompt: a key costs 20 bytes then, and not 75."""
        drawn = self.getvalue()
        self.seek(0)
        self.truncate()
        for needless, needed in NEEDLESS:
            drawn = drawn.replace(needless, needed)
        return drawn.encode(errors="replace")
