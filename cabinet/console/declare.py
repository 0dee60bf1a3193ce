"""How a command of the console is declared, what its handler has at hand, and what it may answer.

One declaration a command: its words, who may run it, what it takes, an example, and the handler. Its help is the text
`help.<name>` (blanks as `_`) of `cabinet/texts/console*.toml`. `commands.TABLE` collects them all.
"""

import enum
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from cabinet.clock import Clock
from cabinet.config import Config
from cabinet.console.arguments import Argument
from cabinet.console.staff import Account, Level
from cabinet.errors import Refused
from cabinet.link.protocol import BusView, Command, Recent
from cabinet.link.records import Asked
from cabinet.model import OutletState, Snapshot
from cabinet.steward.protocol import Answer, Request
from cabinet.texts import Texts
from cabinet.upkeep import Upkeep

T = TypeVar("T")


class Guard(Protocol):
    """What the console needs of the guard (`link.client.BlockingGuard`). All raise LinkError when it is gone."""

    def snapshot(self) -> Snapshot: ...

    def bus(self, scan: bool = False) -> BusView: ...

    def recent(self) -> Recent: ...

    def upkeep(self) -> Upkeep: ...

    def request(self, make: Callable[[int], Command]) -> None:
        """Raises Refused with the guard's code."""


class Records(Protocol):
    """The service, as far as the console asks it (`service_line.ServiceLine`)."""

    def ask(self, asked: Asked, kind: type[T], /) -> T:
        """Raises Refused: `service_gone` where there is none, otherwise with the service's code."""


class NoRecords:
    """In place of a service that cannot be asked."""

    def ask(self, asked: Asked, kind: type[T], /) -> T:
        raise Refused("service_gone")


class Steward(Protocol):
    """Does what only root may (`steward.client.StewardLine`)."""

    def ask(self, request: Request, /) -> Answer:
        """Raises Refused `steward_gone` where there is none, CabinetError where it could not be done."""


class NoSteward:
    """In place of one that cannot be asked."""

    def ask(self, request: Request, /) -> Answer:
        raise Refused("steward_gone")


class Around(msgspec.Struct, frozen=True):
    """What there is besides the guard."""

    hindrance: Callable[[], str | None] = lambda: None  # what the service has against new charges
    attacker: Callable[[], str | None] = lambda: None  # the address that guesses at PINs or passwords lately
    records: Records = NoRecords()
    steward: Steward = NoSteward()
    source: Path | None = None  # the file that the configuration was read from
    unkept: Callable[[], int] = lambda: 0  # rows of the audit log that the service does not have yet


class Desk(msgspec.Struct, frozen=True):
    """What a command has at hand."""

    config: Config
    guard: Guard
    words: Texts
    account: Account
    clock: Clock
    around: Around
    plans: "tuple[CommandPlan, ...]"  # what this account may run
    set_own_pin: Callable[[str], None]  # raises CabinetError

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The site's, for every moment shown."""
        return zoneinfo.ZoneInfo(self.config.site.timezone)

    @property
    def state_folder(self) -> Path:
        return Path(self.config.paths.state)

    @property
    def now_ns(self) -> int:
        return self.clock.monotonic_ns()

    @property
    def who(self) -> str:
        """For the guard's events and every record."""
        return f"console:{self.account.name}"

    def state(self, outlet: int) -> OutletState:
        """That outlet as the guard sees it now. Raises LinkError; Refused where the guard does not know it."""
        state = next((state for state in self.guard.snapshot().outlets if state.outlet == outlet), None)
        if state is None:
            raise Refused("unknown_outlet", outlet=outlet)
        return state


# --- what a handler may answer ---------------------------------------------------------------------------------------


class Shown(msgspec.Struct, frozen=True):
    """Something to read: `text` for a person, `data` for a program (whatever `msgspec.json` encodes)."""

    text: str
    data: Any = None


class Question(msgspec.Struct, frozen=True):
    """Something to say yes to before it is done; `on_yes` does it and says what was done."""

    text: str
    on_yes: Callable[[], "Outcome"]


class Ask(msgspec.Struct, frozen=True):
    """One step of a guided dialogue: shows `text` and `prompt`, and hands the next line typed to `on_answer`.

    Ctrl-C, a hang-up, a minute without an answer (`within_s`) end the dialogue: `on_leave` then tidies up.
    """

    text: str
    prompt: str
    on_answer: Callable[[str], "Outcome"]
    on_leave: Callable[[], None] = lambda: None
    within_s: float = 60.0
    secret: bool = False  # what is typed is not echoed: a PIN


class Live(msgspec.Struct, frozen=True):
    """Something that goes on: `step` is called every `period_s` and its text shown, until it returns None or a key
    is pressed; `on_end` then tidies up and may have the last word. With `redraws` each text replaces the one before
    where the terminal can.
    """

    period_s: float
    step: Callable[[], str | None]
    on_end: Callable[[], str] = lambda: ""
    redraws: bool = False
    then: "Callable[[], Outcome] | None" = None  # what follows, unless somebody ended it before
    answer: "Callable[[], Shown] | None" = None  # for a program, which views nothing; None: it cannot have this


class Language(msgspec.Struct, frozen=True):
    """The technician wants to read `code` from now on."""

    code: str


class Mode(msgspec.Struct, frozen=True):
    """The line is to be used in another way from now on; see `own` for what they mean."""

    kind: Literal["auto", "plain", "full", "machine"]
    rows: int | None = None  # of a page; 0: no pages


class Notify(msgspec.Struct, frozen=True):
    """Whether what happens is to be told without being asked for."""

    on: bool


class Logout(enum.Enum):
    LOGOUT = "logout"


LOGOUT = Logout.LOGOUT

Outcome = Shown | Question | Ask | Live | Language | Mode | Notify | Logout


# --- declaring -------------------------------------------------------------------------------------------------------


class CommandPlan(msgspec.Struct, frozen=True):
    """A command as declared. `name` may be of two words (`usage tail`); `reads` changes nothing anywhere."""

    name: str
    level: Level
    takes: tuple[Argument, ...]
    example: str
    reads: bool
    handler: Callable[..., Outcome]

    @property
    def key(self) -> str:
        """Of its texts: `help.<key>`."""
        return self.name.replace(" ", "_")

    def usage(self, words: Texts) -> str:
        """Such as `outlet N`."""
        return " ".join([self.name, *(argument.shown(words) for argument in self.takes)])

    def bounds(self, words: Texts, config: Config) -> str:
        """What its numbers may be, such as `N: 1-10, SECONDS: 1-600`; empty where it takes none."""
        bounds = {
            argument.shown(words).strip("[]").partition("|")[0]: argument.bounds(config) for argument in self.takes
        }
        return ", ".join(f"{name}: {text}" for name, text in bounds.items() if text)


DECLARED: dict[str, CommandPlan] = {}

Handler = TypeVar("Handler", bound=Callable[..., Outcome])


def command(
    name: str, level: Level, *takes: Argument, example: str = "", reads: bool = False
) -> Callable[[Handler], Handler]:
    """Declares the decorated `handler(desk, *values)` as command `name`; one value an argument, None for a left-out
    optional one. The handler raises Refused (said in words), LinkError (guard gone is said) or another CabinetError.
    """

    def declare(handler: Handler) -> Handler:
        assert name not in DECLARED, f"{name} is declared twice"
        DECLARED[name] = CommandPlan(name, level, takes, example or name, reads, handler)
        return handler

    return declare
