"""A technician's dialogue as a machine: lines of text in, text and the next prompt out.

Knows no port and no terminal: who feeds it and how the text gets to a person is `line`'s business. Nothing typed can
make it raise; whatever the guard or the disk answers becomes a sentence.
"""

import enum
import logging
import unicodedata
from collections.abc import Callable

import msgspec

from cabinet.clock import NS, Clock
from cabinet.config import Config
from cabinet.console import commands
from cabinet.console.declare import LOGOUT, Ask, Desk, Guard, Language, Live, Outcome, Question, Shown
from cabinet.console.staff import NAME, Account, Staff
from cabinet.console.wording import wording
from cabinet.errors import CabinetError, LinkError, Refused

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 60  # a question left open is answered no: the next person must not find it


class Reply(msgspec.Struct, frozen=True):
    """What the person sees next: `text` (lines, or nothing), then `prompt`. With `secret` do not echo the answer.

    With `live_s` the shell wants `tick` called that often, and any key ends what it shows.
    """

    text: str
    prompt: str
    secret: bool = False
    live_s: float | None = None
    redraws: bool = False


class _State(enum.Enum):
    NAME = "asks for the name"
    PIN = "asks for the PIN"
    COMMAND = "logged in"
    ANSWER = "asks whether to go on, or for a step of a dialogue"
    LIVE = "shows something that goes on"


class Shell:
    """One line's dialogue; it outlives logins."""

    def __init__(
        self,
        config: Config,
        staff: Staff,
        guard: Guard,
        clock: Clock,
        hindrance: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`hindrance` says what the service has against new charges: a code that `screens.status` has a text for."""
        self._config = config
        self._staff = staff
        self._guard = guard
        self._clock = clock
        self._hindrance = hindrance
        self._idle_ns = int(config.console.idle_logout_s * NS)
        self._state = _State.NAME
        self._words = wording(config.console.language)
        self._account: Account | None = None
        self._name = ""  # typed, with its PIN still to come
        self._question: Question | Ask | None = None
        self._live: Live | None = None
        self._live_due_ns = 0
        self._touched_ns = clock.monotonic_ns()

    @property
    def logged_in(self) -> bool:
        return self._account is not None

    def greet(self) -> Reply:
        """What a freshly connected terminal shows."""
        return self._reply(self._words("login.banner", site=self._site()))

    def line(self, typed: str) -> Reply:
        """One entered line."""
        self._touched_ns = self._clock.monotonic_ns()
        text = unicodedata.normalize("NFKC", typed).strip()  # an input method may leave full-width letters and digits
        return self._guarded(lambda: self._take(text))

    def _take(self, text: str) -> Reply:
        if self._state is _State.NAME:
            return self._take_name(text)
        if self._state is _State.PIN:
            return self._take_pin(text)
        if self._state is _State.ANSWER:
            return self._take_answer(text)
        if self._state is _State.LIVE:
            return self._end_live()
        return self._run(text)

    def _guarded(self, act: Callable[[], Reply]) -> Reply:
        """Whatever the guard or the disk answers becomes a sentence."""
        try:
            return act()
        except CabinetError as error:
            return self._reply(self._excuse(error))

    def _excuse(self, error: CabinetError) -> str:
        if isinstance(error, LinkError):
            return self._words("guard.gone")
        if isinstance(error, Refused):
            return commands.refusal(self._words, error)
        return self._words("failed", error=str(error))

    def too_long(self) -> Reply:
        """A line beyond what is taken: nothing of it is run."""
        self._touched_ns = self._clock.monotonic_ns()
        self._drop_question()
        return self._reply(self._words("too_long"))

    def interrupt(self) -> Reply:
        """Ctrl-C: back to the prompt, the open question answered no."""
        self._touched_ns = self._clock.monotonic_ns()
        if self._state is _State.LIVE:
            return self._guarded(self._end_live)
        self._drop_question()
        return self._reply("")

    def end(self) -> Reply:
        """Ctrl-D: log out."""
        return self._log_out("logout.done") if self.logged_in else self.interrupt()

    def hang_up(self) -> None:
        """The other end is gone: whoever comes next has to log in."""
        self._leave()

    def tick(self) -> Reply | None:
        """To be called every second or so: ends a login left alone, and a question left open. None: nothing to show."""
        idle_ns = self._clock.monotonic_ns() - self._touched_ns
        if self.logged_in and idle_ns >= self._idle_ns:
            return self._log_out("logout.idle")
        if self._state is _State.LIVE:
            return self._guarded_live()
        within_s = self._question.within_s if isinstance(self._question, Ask) else ANSWER_WITHIN_S
        if self._state in (_State.ANSWER, _State.PIN) and idle_ns >= within_s * NS:
            self._drop_question()
            return self._reply("")
        return None

    def _guarded_live(self) -> Reply | None:
        """A step that fails ends what goes on, and says why."""
        try:
            return self._live_step()
        except CabinetError as error:
            self._drop_question()
            return self._reply(self._excuse(error))

    def _drop_question(self) -> None:
        """Back to the prompt; what was asked or shown is over, and tidied up."""
        question, live = self._question, self._live
        self._question = self._live = None
        self._state = self._resting_state()
        try:
            if isinstance(question, Ask):
                question.on_leave()
            if live is not None:
                live.on_end()
        except CabinetError as error:
            log.warning("leaving a dialogue of the console: %s", error)

    def _take_name(self, text: str) -> Reply:
        if not text:
            return self._reply("")
        name = text.lower()
        if not NAME.fullmatch(name):  # noise on the line is not worth a hash
            return self._reply(self._words("login.no_name"))
        self._name = name
        self._state = _State.PIN
        return self._reply("")

    def _take_pin(self, text: str) -> Reply:
        self._state = _State.NAME
        try:
            self._account = self._staff.check(self._name, text)
        except Refused as refused:
            if refused.code == "locked_out":
                return self._reply(self._words("login.locked", seconds=refused.params["retry_after_s"]))
            return self._reply(self._words("login.wrong"))
        self._state = _State.COMMAND
        self._words = wording(self._account.language or self._config.console.language)
        level = self._words(f"level.{self._account.level.name.lower()}")
        return self._reply(self._words("login.done", name=self._account.name, level=level))

    def _run(self, text: str) -> Reply:
        if not text:
            return self._reply("")
        assert self._account is not None
        return self._show(commands.run(text, self._desk(self._account)))

    def _show(self, outcome: Outcome) -> Reply:
        """What a command, or a step of one, leads to."""
        assert self._account is not None
        if isinstance(outcome, Shown):
            return self._reply(outcome.text)
        if isinstance(outcome, Question | Ask):
            self._question = outcome
            self._state = _State.ANSWER
            return self._reply(outcome.text)
        if isinstance(outcome, Live):
            self._live, self._live_due_ns = outcome, self._clock.monotonic_ns()
            self._state = _State.LIVE
            return self._live_step() or self._reply("")
        if isinstance(outcome, Language):
            self._words = wording(outcome.code)
            self._staff.choose_language(self._account.name, outcome.code)
            return self._reply(self._words("language.done"))
        assert outcome is LOGOUT
        return self._log_out("logout.done")

    def _take_answer(self, text: str) -> Reply:
        self._state = _State.COMMAND
        question, self._question = self._question, None
        if isinstance(question, Ask):
            return self._show(question.on_answer(text))
        if question is None or text.lower() not in ("yes", "是"):
            return self._reply(self._words("answer.no"))
        return self._show(question.on_yes())

    def _live_step(self) -> Reply | None:
        """The next text of what goes on, once it is due."""
        live, now_ns = self._live, self._clock.monotonic_ns()
        if live is None or now_ns < self._live_due_ns:
            return None
        self._live_due_ns = now_ns + int(live.period_s * NS)
        text = live.step()
        return self._end_live() if text is None else self._reply(text)

    def _end_live(self) -> Reply:
        live, self._live = self._live, None
        self._state = self._resting_state()
        return self._reply("" if live is None else live.on_end())

    def _log_out(self, key: str) -> Reply:
        text = self._words(key)
        self._leave()
        return self._reply(text)

    def _leave(self) -> None:
        self._drop_question()
        self._state = _State.NAME
        self._account = None
        self._words = wording(self._config.console.language)
        self._touched_ns = self._clock.monotonic_ns()

    def _resting_state(self) -> _State:
        return _State.COMMAND if self.logged_in else _State.NAME

    def _desk(self, account: Account) -> Desk:
        plans = tuple(plan for plan in commands.TABLE.values() if plan.level <= account.level)
        return Desk(self._config, self._guard, self._words, account, self._clock, self._hindrance, plans)

    def _site(self) -> str:
        site = self._config.site
        name = site.name_en if self._words.language == "en" and site.name_en else site.name
        return f"{name} ({site.site_id})"

    def _reply(self, text: str) -> Reply:
        return Reply(
            text,
            self._prompt(),
            secret=self._state is _State.PIN,
            live_s=None if self._live is None else self._live.period_s,
            redraws=self._live is not None and self._live.redraws,
        )

    def _prompt(self) -> str:
        if self._state is _State.LIVE:
            return ""
        if isinstance(self._question, Ask):
            return self._question.prompt
        prompts = {
            _State.NAME: "prompt.name",
            _State.PIN: "prompt.pin",
            _State.ANSWER: "prompt.answer",
            _State.COMMAND: "prompt.command",
        }
        return self._words(prompts[self._state], site=self._config.site.site_id)
