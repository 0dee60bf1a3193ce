"""A technician's dialogue as a state machine: lines of text in, text and the next prompt out.

It depends on no port and no terminal; `line` transports the text. No input makes it raise; an error of the guard or
the disk becomes a sentence.
"""

import enum
import logging
from collections.abc import Callable

import msgspec

from cabinet import normal_form, plain_text
from cabinet.clock import NS, Clock
from cabinet.config import Config
from cabinet.console import registry, status_text
from cabinet.console.accounts import NAME, Account, ConsoleAccounts
from cabinet.console.command import (
    LOGOUT,
    Backends,
    CommandContext,
    CommandResult,
    Confirmation,
    GuardClient,
    LineMode,
    LiveView,
    Logout,
    Output,
    Prompt,
    is_yes,
)
from cabinet.console.command_line import YES, CommandLine, error_code, reply_json
from cabinet.console.notices import ChangeMonitor, Notice, notice_text
from cabinet.console.reply import CommandAudit, Reply
from cabinet.console.rows import AuditRowWriter
from cabinet.console.wording import wording
from cabinet.errors import CabinetError, Refused

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 60  # then an open question is answered no: the next person must not find it


class _State(enum.Enum):  # value: text key of the prompt
    NAME = "prompt.name"
    PIN = "prompt.pin"
    COMMAND = "prompt.command"
    ANSWER = "prompt.answer"  # a confirmation, or a dialogue step with a prompt of its own
    LIVE = ""  # a live view is shown


class Shell:
    """The dialogue of one serial port; it outlives logins."""

    def __init__(
        self,
        config: Config,
        staff: ConsoleAccounts,
        guard: GuardClient,
        clock: Clock,
        backends: Backends | None = None,
        audit: CommandAudit | None = None,
    ) -> None:
        self._config = config
        self._staff = staff
        self._guard = guard
        self._clock = clock
        self._backends = backends or Backends()
        self._rows = AuditRowWriter(audit)
        self._idle_ns = int(config.console.idle_logout_s * NS)
        self._state = _State.NAME
        self._words = wording(config.console.language)
        self._account: Account | None = None
        self._name = ""  # account name typed; its PIN is not entered yet
        self._question: Confirmation | Prompt | None = None
        self._asked = CommandLine("")  # command of the open question or dialogue
        self._live: LiveView | None = None
        self._live_due_ns = 0
        self._change_monitor = ChangeMonitor(guard, self._backends.hindrance, self._backends.attacker)
        self._touched_ns = clock.monotonic_ns()

    @property
    def logged_in(self) -> bool:
        return self._account is not None

    @property
    def config(self) -> Config:
        return self._config

    @property
    def account(self) -> Account | None:
        return self._account

    @property
    def at_command(self) -> bool:
        """True if the next line is a command, not a name, a PIN or an answer."""
        return self._state is _State.COMMAND

    @property
    def language(self) -> str:
        return self._words.language

    def greet(self) -> Reply:
        """Return the text for a newly connected terminal."""
        banner = self._words("login.banner", site=self._site())
        return self._reply(banner if self._has_accounts() else f"{banner}\n{self._words('login.no_account')}")

    def line(self, typed: str) -> Reply:
        """Process one entered line."""
        self._touched_ns = self._clock.monotonic_ns()
        text = normal_form.command_line(typed)
        if not self._staff.is_current(self._account):
            return self._log_out("login.withdrawn")
        return self._guarded(lambda: self._take(text))

    def machine_line(self, typed: str) -> str | Reply:
        """Return a program's reply as one line, or a Reply if the dialogue continues as with a person."""
        self._touched_ns = self._clock.monotonic_ns()
        if not self._staff.is_current(self._account):
            return self._log_out("login.withdrawn")
        asked = CommandLine.read(normal_form.command_line(typed))
        if not asked.line:
            return ""
        try:
            result = self._run_for_program(asked)
        except CabinetError as error:
            self._note(asked, error_code(error))
            return reply_json(error, self._words) + "\n"
        if result is LOGOUT or (isinstance(result, LineMode) and result.kind != "machine"):
            return self._show(asked, result)
        self._note(asked, "ok")
        return reply_json(result, self._words) + "\n"

    def too_long(self) -> Reply:
        """Reject a line over the length limit: no part of it is run."""
        self._touched_ns = self._clock.monotonic_ns()
        self._drop_question()
        return self._reply(self._words("too_long"))

    def interrupt(self) -> Reply:
        """Handle Ctrl-C: return to the prompt; an open question counts as answered no."""
        self._touched_ns = self._clock.monotonic_ns()
        if self._state is _State.LIVE:
            return self._guarded(self._end_live)
        self._drop_question()
        return self._reply("")

    def end(self) -> Reply:
        """Handle Ctrl-D: log out."""
        return self._log_out("logout.done") if self.logged_in else self.interrupt()

    def hang_up(self) -> None:
        """End the login: the connection is lost, and the next person must log in."""
        self._leave()

    def tick(self) -> Reply | None:
        """End an idle login or an unanswered question; continue a live view. Call about twice a second.

        Returns None if there is no text.
        """
        idle_ns = self._clock.monotonic_ns() - self._touched_ns
        if self.logged_in and idle_ns >= self._idle_ns:
            return self._log_out("logout.idle")
        if self._state is _State.LIVE:
            return self._guarded_live()
        within_s = self._question.within_s if isinstance(self._question, Prompt) else ANSWER_WITHIN_S
        if self._state in (_State.ANSWER, _State.PIN) and idle_ns >= within_s * NS:
            self._drop_question()
            return self._reply("")
        return None

    def notices(self) -> list[Notice]:
        """Return the changes since the last check if notices are on; checks once a second."""
        return [] if self._state is _State.LIVE else self._change_monitor.check(self._clock.monotonic_ns())

    def notice_text(self, notice: Notice) -> str:
        """Return a notice as text in the reader's language."""
        return plain_text.lines(notice_text(notice, self._words))

    # --- lines typed by a person -------------------------------------------------------------------------------------

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
        """Run `act`; an error of the guard or the disk becomes a sentence."""
        try:
            return act()
        except CabinetError as error:
            return self._reply(registry.error_text(self._words, error))

    def _take_name(self, text: str) -> Reply:
        if not text:
            return self._reply("")
        name = normal_form.login_name(text)
        if not NAME.fullmatch(name):  # line noise: not worth a PIN hash
            return self._reply(self._words("login.no_name"))
        self._name = name
        self._state = _State.PIN
        return self._reply("")

    def _take_pin(self, text: str) -> Reply:
        self._state = _State.NAME
        try:
            login = self._staff.log_in(self._name, normal_form.spelling(text))
        except Refused as refused:
            if self._staff.knows(self._name):
                self._rows.write(self._name, "", "login", refused.code)
            if refused.code == "locked_out":
                return self._reply(self._words("login.locked", seconds=refused.params["retry_after_s"]))
            return self._reply(self._words("login.wrong"))
        account = self._account = login.account
        self._rows.write(account.name, account.level.name.lower(), "login", "ok")
        self._state = _State.COMMAND
        self._words = wording(account.language or self._config.console.language)
        level = self._words(f"level.{account.level.name.lower()}")
        lines = [
            self._words("login.done", name=account.name, level=level),
            status_text.last_login(login, self._words, self._context().zone),
        ]
        mode = LineMode(account.terminal, account.rows)
        return msgspec.structs.replace(self._reply("\n".join(line for line in lines if line)), mode=mode)

    def _run(self, text: str) -> Reply:
        if not text:
            return self._reply("")
        asked = CommandLine.read(text)
        try:
            outcome = self._ask(asked)
        except CabinetError as error:
            self._note(asked, error_code(error))
            if asked.json:
                return self._reply(reply_json(error, self._words))
            raise
        return self._show(asked, outcome)

    def _ask(self, asked: CommandLine) -> CommandResult:
        return registry.run(asked.line, self._context(), asked.json)

    def _show(self, asked: CommandLine, outcome: CommandResult) -> Reply:
        """Apply the result of a command or dialogue step; write its audit log row once it is final."""
        if isinstance(outcome, Confirmation | Prompt):
            return self._begin_question(asked, outcome)
        if isinstance(outcome, LiveView) and outcome.then is not None:
            self._asked = asked  # a dialogue step: the result of `then` is the final one
            return self._begin_live(outcome)
        self._note(asked, "ok")
        self._asked = CommandLine("")
        match outcome:
            case Output():
                return self._reply(reply_json(outcome, self._words) if asked.json else outcome.text)
            case LiveView():
                return self._begin_live(outcome)
            case LineMode():
                return self._use(outcome)
            case Logout():
                return self._log_out("logout.done")

    def _begin_question(self, asked: CommandLine, question: Confirmation | Prompt) -> Reply:
        if isinstance(question, Prompt) and asked is not self._asked:
            self._note(asked, "begun")
        self._question, self._asked = question, asked
        self._state = _State.ANSWER
        return self._reply(question.text)

    def _take_answer(self, text: str) -> Reply:
        self._state = _State.COMMAND
        question, self._question = self._question, None
        asked = self._asked
        try:
            if isinstance(question, Prompt):
                return self._show(asked, question.on_answer(text))
            if question is None or not is_yes(text):
                self._note(asked, "not_confirmed")
                return self._reply(self._words("answer.no"))
            return self._show(asked, question.on_yes())
        except CabinetError as error:
            self._note(asked, error_code(error))
            raise

    def _run_for_program(self, asked: CommandLine) -> CommandResult:
        """Return the final result: a program can neither be asked nor watch a view. Raises Refused if it would have
        to."""
        outcome = self._ask(asked)
        if isinstance(outcome, Confirmation):
            if not asked.yes:
                raise Refused("confirm", question=outcome.text, option=YES)
            outcome = outcome.on_yes()
        if isinstance(outcome, LiveView) and outcome.answer is not None:
            return outcome.answer()
        if isinstance(outcome, Prompt | LiveView):
            (outcome.on_leave if isinstance(outcome, Prompt) else outcome.on_end)()
            raise Refused("for_people")
        return outcome

    def _set_language(self, code: str) -> None:
        assert self._account is not None
        self._words = wording(code)
        self._staff.remember(self._account.name, language=code)

    def _set_notices(self, on: bool) -> None:
        (self._change_monitor.begin if on else self._change_monitor.end)()

    def _use(self, mode: LineMode) -> Reply:
        assert self._account is not None
        if mode.kind != "machine":
            self._staff.remember(self._account.name, terminal=mode.kind, rows=mode.rows)
        reply = self._reply(self._words(f"terminal.{mode.kind}"))
        return msgspec.structs.replace(reply, mode=mode)

    # --- live views --------------------------------------------------------------------------------------------------

    def _live_step(self) -> Reply | None:
        """Return the next text of the live view if it is due, else None."""
        live, now_ns = self._live, self._clock.monotonic_ns()
        if live is None or now_ns < self._live_due_ns:
            return None
        self._live_due_ns = now_ns + int(live.period_s * NS)
        text = live.step()
        if text is not None:
            return self._reply(text)
        ended = self._end_live(over=True)
        return ended if live.then is None else self._follow(ended, live.then())

    def _begin_live(self, live: LiveView) -> Reply:
        self._live, self._live_due_ns = live, self._clock.monotonic_ns()
        self._state = _State.LIVE
        return self._guarded_live() or self._reply("")

    def _follow(self, ended: Reply, outcome: CommandResult) -> Reply:
        """Return the result that follows a live view, below the view's final text."""
        reply = self._show(self._asked, outcome)
        return msgspec.structs.replace(reply, text="\n".join(text for text in (ended.text, reply.text) if text))

    def _guarded_live(self) -> Reply | None:
        """Run a step of the live view; if it fails, end the view and return the reason."""
        try:
            return self._live_step()
        except CabinetError as error:
            self._end_dialogue(error_code(error))
            self._drop_question()
            return self._reply(registry.error_text(self._words, error))

    def _end_live(self, over: bool = False) -> Reply:
        live, self._live = self._live, None
        if not over:
            self._end_dialogue("left")
        self._state = self._resting_state()
        return self._reply("" if live is None else live.on_end())

    # --- leaving and logout ------------------------------------------------------------------------------------------

    def _drop_question(self) -> None:
        """Return to the prompt; end and clean up an open question or live view."""
        question, live = self._question, self._live
        self._question = self._live = None
        self._state = self._resting_state()
        self._end_dialogue("left" if question is None else "not_confirmed")
        try:
            if isinstance(question, Prompt):
                question.on_leave()
            if live is not None:
                live.on_end()
        except CabinetError as error:
            log.warning("leaving a dialogue of the console: %s", error)

    def _log_out(self, key: str) -> Reply:
        text = self._words(key)
        self._leave()
        return msgspec.structs.replace(self._reply(text), mode=LineMode("plain"))

    def _leave(self) -> None:
        self._drop_question()
        self._state = _State.NAME
        self._account = None
        self._change_monitor.end()
        self._words = wording(self._config.console.language)
        self._touched_ns = self._clock.monotonic_ns()

    def _resting_state(self) -> _State:
        return _State.COMMAND if self.logged_in else _State.NAME

    # --- the audit log -----------------------------------------------------------------------------------------------

    def _note(self, asked: CommandLine, outcome: str) -> None:
        self._rows.note(self._account, asked, outcome)

    def _end_dialogue(self, outcome: str) -> None:
        asked, self._asked = self._asked, CommandLine("")
        self._note(asked, outcome)

    # --- replies -----------------------------------------------------------------------------------------------------

    def _has_accounts(self) -> bool:
        try:
            return bool(self._staff.names())
        except CabinetError:
            return True  # the login reports the error of the file

    def _context(self) -> CommandContext:
        account = self._account
        assert account is not None
        return CommandContext(
            self._config,
            self._guard, self._words, account, self._clock, self._backends, registry.allowed(account.level),
            lambda pin: self._staff.set_pin(account.name, account.level, pin), self._set_language, self._set_notices,
        )  # fmt: skip

    def _site(self) -> str:
        site = self._config.site
        name = site.name_en if self._words.language == "en" and site.name_en else site.name
        return f"{name} ({site.site_id})"

    def _reply(self, text: str) -> Reply:
        if self._rows.take_unwritten():
            text = "\n".join(part for part in (text, self._words("audit.not_written")) if part)
        return Reply(
            plain_text.lines(text),
            plain_text.one_line(self._prompt()),
            secret=self._state is _State.PIN or (isinstance(self._question, Prompt) and self._question.secret),
            live_s=None if self._live is None else self._live.period_s,
            redraws=self._live is not None and self._live.redraws,
            asks=self._question is not None,
        )

    def _prompt(self) -> str:
        if self._state is _State.LIVE:
            return ""
        if isinstance(self._question, Prompt):
            return self._question.prompt
        return self._words(self._state.value, site=self._config.site.site_id)
