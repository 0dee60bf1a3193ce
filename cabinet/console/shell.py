"""A technician's dialogue as a machine: lines of text in, text and the next prompt out.

Knows no port and no terminal: who feeds it and how the text gets to a person is `line`'s business. Nothing typed can
make it raise; whatever the guard or the disk answers becomes a sentence.
"""

import enum
import unicodedata
from collections.abc import Callable

import msgspec

from cabinet.clock import NS, Clock
from cabinet.config import Config
from cabinet.console import commands
from cabinet.console.commands import Desk, Guard, Question
from cabinet.console.staff import NAME, Account, Staff
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.texts import Texts

ANSWER_WITHIN_S = 60  # a question left open is answered no: the next person must not find it


class Reply(msgspec.Struct, frozen=True):
    """What the person sees next: `text` (lines, or nothing), then `prompt`. With `secret` do not echo the answer."""

    text: str
    prompt: str
    secret: bool = False


class _State(enum.Enum):
    NAME = "asks for the name"
    PIN = "asks for the PIN"
    COMMAND = "logged in"
    ANSWER = "asks whether to go on"


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
        self._words = Texts("console", config.console.language)
        self._account: Account | None = None
        self._name = ""  # typed, with its PIN still to come
        self._question: Question | None = None
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
        try:
            if self._state is _State.NAME:
                return self._take_name(text)
            if self._state is _State.PIN:
                return self._take_pin(text)
            if self._state is _State.ANSWER:
                return self._take_answer(text)
            return self._run(text)
        except LinkError:
            return self._reply(self._words("guard.gone"))
        except Refused as refused:
            return self._reply(commands.refusal(self._words, refused))
        except CabinetError as error:
            return self._reply(self._words("failed", error=str(error)))

    def too_long(self) -> Reply:
        """A line beyond what is taken: nothing of it is run."""
        self._touched_ns = self._clock.monotonic_ns()
        self._state = self._resting_state()
        return self._reply(self._words("too_long"))

    def interrupt(self) -> Reply:
        """Ctrl-C: back to the prompt, the open question answered no."""
        self._touched_ns = self._clock.monotonic_ns()
        self._state = self._resting_state()
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
        if self._state in (_State.ANSWER, _State.PIN) and idle_ns >= ANSWER_WITHIN_S * NS:
            self._state = self._resting_state()
            return self._reply("")
        return None

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
        self._words = Texts("console", self._account.language or self._config.console.language)
        level = self._words(f"level.{self._account.level.name.lower()}")
        return self._reply(self._words("login.done", name=self._account.name, level=level))

    def _run(self, text: str) -> Reply:
        if not text:
            return self._reply("")
        assert self._account is not None
        outcome = commands.run(text, self._desk(self._account))
        if outcome is commands.LOGOUT:
            return self._log_out("logout.done")
        if isinstance(outcome, commands.Language):
            self._words = Texts("console", outcome.code)
            self._staff.choose_language(self._account.name, outcome.code)
            return self._reply(self._words("language.done"))
        if isinstance(outcome, Question):
            self._question = outcome
            self._state = _State.ANSWER
            return self._reply(outcome.text)
        return self._reply(str(outcome))

    def _take_answer(self, text: str) -> Reply:
        self._state = _State.COMMAND
        question = self._question
        if question is None or text.lower() not in ("yes", "是"):
            return self._reply(self._words("answer.no"))
        return self._reply(question.on_yes())

    def _log_out(self, key: str) -> Reply:
        text = self._words(key)
        self._leave()
        return self._reply(text)

    def _leave(self) -> None:
        self._state = _State.NAME
        self._account = None
        self._question = None
        self._words = Texts("console", self._config.console.language)
        self._touched_ns = self._clock.monotonic_ns()

    def _resting_state(self) -> _State:
        return _State.COMMAND if self.logged_in else _State.NAME

    def _desk(self, account: Account) -> Desk:
        return Desk(self._config, self._guard, self._words, account, self._clock.monotonic_ns(), self._hindrance)

    def _site(self) -> str:
        site = self._config.site
        name = site.name_en if self._words.language == "en" and site.name_en else site.name
        return f"{name} ({site.site_id})"

    def _reply(self, text: str) -> Reply:
        prompts = {
            _State.NAME: "prompt.name",
            _State.PIN: "prompt.pin",
            _State.ANSWER: "prompt.answer",
            _State.COMMAND: "prompt.command",
        }
        prompt = self._words(prompts[self._state], site=self._config.site.site_id)
        return Reply(text, prompt, secret=self._state is _State.PIN)
