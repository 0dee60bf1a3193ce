"""The console's commands, each declared once: its name, who may run it, what it takes, and what it does.

Its help is the text `help.<name>` of `cabinet/texts/console.*.toml`. `help` lists this table and nothing else.
"""

import difflib
import enum
from collections.abc import Callable
from typing import Protocol

import msgspec

from cabinet.config import Config
from cabinet.console import screens
from cabinet.console.staff import Account, Level
from cabinet.errors import Refused
from cabinet.link.protocol import ClearLatch, Command, Open
from cabinet.model import CABINET, EndReason, OutletState, Phase, Snapshot
from cabinet.texts import LANGUAGES, Texts


class Guard(Protocol):
    """What the console needs of the guard (`link.client.BlockingGuard`). Both raise LinkError when it is gone."""

    def snapshot(self) -> Snapshot: ...

    def request(self, make: Callable[[int], Command]) -> None:
        """Raises Refused with the guard's code."""


class Desk(msgspec.Struct, frozen=True):
    """What a command has at hand."""

    config: Config
    guard: Guard
    words: Texts
    account: Account
    now_ns: int
    hindrance: Callable[[], str | None]  # what the service has against new charges

    def state(self, outlet: int) -> OutletState:
        """That outlet as the guard sees it now. Raises LinkError; Refused where the guard does not know it."""
        state = next((state for state in self.guard.snapshot().outlets if state.outlet == outlet), None)
        if state is None:
            raise Refused("unknown_outlet", outlet=outlet)
        return state


class Question(msgspec.Struct, frozen=True):
    """Something to say yes to before it is done; `on_yes` does it and says what was done."""

    text: str
    on_yes: Callable[[], str]


class Language(msgspec.Struct, frozen=True):
    """The technician wants to read `code` from now on."""

    code: str


class Logout(enum.Enum):
    LOGOUT = "logout"


LOGOUT = Logout.LOGOUT

Outcome = str | Question | Language | Logout
Value = int | str


class _Takes(enum.Enum):
    """The argument of a command."""

    NOTHING = ""
    OUTLET = "outlet"
    PLACE = "place"  # an outlet, or the cabinet as a whole
    LANGUAGE = "language"


class CommandPlan(msgspec.Struct, frozen=True):
    name: str
    level: Level
    takes: _Takes
    handler: Callable[..., Outcome]


TABLE: dict[str, CommandPlan] = {}


def _command(
    level: Level, takes: _Takes = _Takes.NOTHING
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    def declare(handler: Callable[..., Outcome]) -> Callable[..., Outcome]:
        name = handler.__name__.rstrip("_")
        TABLE[name] = CommandPlan(name, level, takes, handler)
        return handler

    return declare


def run(line: str, desk: Desk) -> Outcome:
    """What the line asks for. A line that is no command, or not for this account, runs nothing and says so.

    Raises LinkError where the guard is gone, Refused where it says no.
    """
    name, *arguments = line.split()
    words = desk.words
    plan = TABLE.get(name.lower())
    if plan is None:
        near = difflib.get_close_matches(name.lower(), TABLE, 1)
        return words("unknown_command.near", near=near[0]) if near else words("unknown_command.plain")
    if desk.account.level < plan.level:
        return words("not_for_you", name=plan.name, level=words(f"level.{plan.level.name.lower()}"))
    if plan.takes is _Takes.NOTHING:
        return plan.handler(desk) if not arguments else words("usage", usage=usage(plan, words))
    value = _value(plan.takes, arguments, desk.config)
    return words("usage", usage=usage(plan, words)) if value is None else plan.handler(desk, value)


def usage(plan: CommandPlan, words: Texts) -> str:
    """Such as `outlet N`."""
    return plan.name if plan.takes is _Takes.NOTHING else f"{plan.name} {words(f'argument.{plan.takes.value}')}"


def refusal(words: Texts, refused: Refused) -> str:
    """Why the guard said no, in words; a code without any is shown as it is."""
    key = f"refusal.{refused.code}"
    return words(key, **refused.params) if key in words else str(refused)


def _value(takes: _Takes, arguments: list[str], config: Config) -> Value | None:
    """The argument, or None where there is not exactly one and a good one."""
    if len(arguments) != 1:
        return None
    if takes is _Takes.LANGUAGE:
        return arguments[0].lower() if arguments[0].lower() in LANGUAGES else None
    known = {str(outlet.number): outlet.number for outlet in config.outlet}
    if takes is _Takes.PLACE:
        known |= {str(CABINET): CABINET, "cabinet": CABINET}
    return known.get(arguments[0].lower())


@_command(Level.LOOK)
def status(desk: Desk) -> Outcome:
    return screens.status(desk.guard.snapshot(), desk.words, desk.now_ns, desk.hindrance())


@_command(Level.LOOK, _Takes.OUTLET)
def outlet(desk: Desk, number: int) -> Outcome:
    return screens.outlet(desk.state(number), desk.config, desk.words)


@_command(Level.LOOK)
def faults(desk: Desk) -> Outcome:
    return screens.faults(desk.guard.snapshot(), desk.words)


@_command(Level.OPERATE, _Takes.OUTLET)
def off(desk: Desk, number: int) -> Outcome:
    """At once and without a question: opening is the safe direction."""
    was = desk.state(number)
    desk.guard.request(lambda id: Open(id, number, EndReason.STOPPED_BY_STAFF, who=_who(desk)))
    key = "off.done" if was.phase is Phase.IDLE else "off.done_charge_ended"
    return desk.words(key, outlet=number)


@_command(Level.SERVICE, _Takes.PLACE)
def clear(desk: Desk, number: int) -> Outcome:
    if number == CABINET:
        return _clear_cabinet(desk)
    state = desk.state(number)
    if not state.latched or state.fault is None:
        return desk.words("clear.nothing", outlet=number)

    def on_yes() -> str:
        desk.guard.request(lambda id: ClearLatch(id, number, _who(desk)))
        return desk.words("clear.done", outlet=number)

    fault = screens.fault_lines(state, desk.words)
    return Question("\n".join([*fault, desk.words("clear.question", outlet=number)]), on_yes)


def _clear_cabinet(desk: Desk) -> Outcome:
    snapshot = desk.guard.snapshot()
    if snapshot.fault is None and not snapshot.siren:
        return desk.words("clear.cabinet_nothing")

    def on_yes() -> str:
        desk.guard.request(lambda id: ClearLatch(id, CABINET, _who(desk)))
        return desk.words("clear.cabinet_done")

    fault = screens.cabinet_fault_lines(snapshot, desk.words)
    return Question("\n".join([*fault, desk.words("clear.cabinet_question")]), on_yes)


@_command(Level.LOOK, _Takes.LANGUAGE)
def language(desk: Desk, code: str) -> Outcome:
    return Language(code)


@_command(Level.LOOK)
def help_(desk: Desk) -> Outcome:
    """Only what this account may run."""
    rows = [
        (usage(plan, desk.words), desk.words(f"help.{plan.name}"))
        for plan in TABLE.values()
        if plan.level <= desk.account.level
    ]
    return screens.help_lines(rows, desk.words)


@_command(Level.LOOK)
def logout(desk: Desk) -> Outcome:
    return LOGOUT


def _who(desk: Desk) -> str:
    return f"console:{desk.account.name}"
