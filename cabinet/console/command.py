"""Console command declarations: the decorator, the handler's context, and the results that a handler may return.

Each command is declared once: name, required level, arguments, example, and handler. Its help is the text `help.<name>`
(blanks as `_`) of `cabinet/texts/console*.toml`. `registry.COMMANDS` collects all commands.
"""

import enum
import zoneinfo
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from cabinet.clock import Clock
from cabinet.config import Config
from cabinet.console.accounts import Account, Level
from cabinet.console.arguments import Argument
from cabinet.errors import Refused
from cabinet.link.guard_protocol import BusView, Command, Recent
from cabinet.link.service_protocol import Query
from cabinet.link.uplink_protocol import UplinkStatus
from cabinet.maintenance import MaintenanceState, OutletMaintenance
from cabinet.model import OutletState, Snapshot
from cabinet.system.steward.protocol import Answer, InspectionItem, Request
from cabinet.texts import Texts

T = TypeVar("T")


class GuardClient(Protocol):
    """Guard interface of the console (`link.client.BlockingGuard`). All calls raise LinkError if the guard is gone."""

    def snapshot(self) -> Snapshot: ...

    def bus(self, scan: bool = False) -> BusView: ...

    def recent(self) -> Recent: ...

    def maintenance_state(self) -> MaintenanceState: ...

    def request(self, make: Callable[[int], Command]) -> None:
        """Send one command. Raises Refused with the guard's code."""


class ServiceClient(Protocol):
    """Service interface of the console: queries (`service_client.ServiceSocketClient`)."""

    def ask(self, asked: Query, kind: type[T], /) -> T:
        """Return the reply. Raises Refused: `service_gone` if there is no service, else with the service's code."""


class NoService:
    """Placeholder without a service connection: refuses every query."""

    def ask(self, asked: Query, kind: type[T], /) -> T:
        raise Refused("service_gone")


class StewardClient(Protocol):
    """Steward interface: operations that require root (`steward.client.StewardSocketClient`)."""

    def ask(self, request: Request, /) -> Answer:
        """Return the reply. Raises Refused `steward_gone` if there is no steward, CabinetError if the request fails."""

    def inspect_updates(self) -> Generator[InspectionItem | None, None, None]:
        """Yield the findings, and None when no more are queued. Raises as `ask`.

        Closing it ends the inspection: the drives are unmounted on return. Raises Refused if they may not be.
        """


class NoSteward:
    """Placeholder without a steward connection: refuses every request."""

    def ask(self, request: Request, /) -> Answer:
        raise Refused("steward_gone")

    def inspect_updates(self) -> Generator[InspectionItem | None, None, None]:
        raise Refused("steward_gone")


class Backends(msgspec.Struct, frozen=True):
    """Backends other than the guard."""

    hindrance: Callable[[], str | None] = lambda: None  # code why the service takes no new charges, or None
    attacker: Callable[[], str | None] = lambda: None  # address of a recent attack on PINs or passwords
    records: ServiceClient = NoService()
    steward: StewardClient = NoSteward()
    source: Path | None = None  # file of the loaded configuration
    unclosed: Callable[[], tuple[str, str] | None] = lambda: None  # unclosed month of the usage log, and the reason
    uplink: Callable[[], UplinkStatus | None] = lambda: None  # last report of the uplink process
    unkept: Callable[[], int] = lambda: 0  # audit log rows not stored by the service yet


class CommandContext(msgspec.Struct, frozen=True):
    """Command context: everything that a handler may use."""

    config: Config
    guard: GuardClient
    words: Texts
    account: Account
    clock: Clock
    backends: Backends
    commands: "tuple[CommandSpec, ...]"  # commands that this account may run
    set_own_pin: Callable[[str], None]  # raises CabinetError
    set_language: Callable[[str], None]  # of the account, from now on
    set_notices: Callable[[bool], None]  # switches unsolicited notices on or off

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Time zone of the site, for every time shown."""
        return zoneinfo.ZoneInfo(self.config.site.timezone)

    @property
    def state_folder(self) -> Path:
        return Path(self.config.paths.state)

    @property
    def now_ns(self) -> int:
        return self.clock.monotonic_ns()

    @property
    def who(self) -> str:
        """Name of the account for the guard's events and every record."""
        return f"console:{self.account.name}"

    def state(self, outlet: int) -> OutletState:
        """Return the outlet's present state. Raises LinkError; Refused if the guard has no such outlet."""
        state = next((state for state in self.guard.snapshot().outlets if state.outlet == outlet), None)
        if state is None:
            raise Refused("unknown_outlet", outlet=outlet)
        return state

    def outlet_maintenance(self, outlet: int) -> OutletMaintenance:
        """Return the outlet's maintenance data. Raises LinkError; Refused if the guard has no such outlet."""
        page = next((page for page in self.guard.maintenance_state().outlets if page.outlet == outlet), None)
        if page is None:
            raise Refused("unknown_outlet", outlet=outlet)
        return page


def is_yes(typed: str) -> bool:
    """Return True if a typed answer confirms."""
    return typed.lower() in ("yes", "是")


# --- results of a handler --------------------------------------------------------------------------------------------


class Output(msgspec.Struct, frozen=True):
    """Output: `text` for a person, `data` for a program (any value that `msgspec.json` encodes)."""

    text: str
    data: Any = None


class Confirmation(msgspec.Struct, frozen=True):
    """Confirmation before an action; `on_yes` performs the action and returns its result."""

    text: str
    on_yes: Callable[[], "CommandResult"]


class Prompt(msgspec.Struct, frozen=True):
    """One step of a guided dialogue: shows `text` and `prompt`, and passes the next line typed to `on_answer`.

    Ctrl-C, a hang-up, or a minute without an answer (`within_s`) ends the dialogue; `on_leave` then cleans up.
    """

    text: str
    prompt: str
    on_answer: Callable[[str], "CommandResult"]
    on_leave: Callable[[], None] = lambda: None
    within_s: float = 60.0
    secret: bool = False  # do not echo the input: it is a PIN


class LiveView(msgspec.Struct, frozen=True):
    """Live view: `step` is called every `period_s` and its text is shown until it returns None or a key is pressed.

    `on_end` then cleans up and returns a final text, or an empty one. With `redraws` each text replaces the previous
    one if the terminal can move its cursor.
    """

    period_s: float
    step: Callable[[], str | None]
    on_end: Callable[[], str] = lambda: ""
    redraws: bool = False
    then: "Callable[[], CommandResult] | None" = None  # next result, unless a person ended the view early
    answer: "Callable[[], Output] | None" = None  # reply to a program, which has no view; None: refused to programs


class LineMode(msgspec.Struct, frozen=True):
    """Change of the line mode; `own` describes the modes."""

    kind: Literal["auto", "plain", "full", "machine"]
    rows: int | None = None  # rows per page; 0: no paging


class Logout(enum.Enum):
    LOGOUT = "logout"


LOGOUT = Logout.LOGOUT

CommandResult = Output | Confirmation | Prompt | LiveView | LineMode | Logout


# --- declaration -----------------------------------------------------------------------------------------------------


class CommandSpec(msgspec.Struct, frozen=True):
    """A declared command. `name` may have two words (`usage tail`); with `reads` the command changes no state."""

    name: str
    level: Level
    takes: tuple[Argument, ...]
    example: str
    reads: bool
    handler: Callable[..., CommandResult]

    @property
    def key(self) -> str:
        """Key of the command's texts: `help.<key>`."""
        return self.name.replace(" ", "_")

    def usage(self, words: Texts) -> str:
        """Return the usage, such as `outlet N`."""
        return " ".join([self.name, *(argument.shown(words) for argument in self.takes)])

    def bounds(self, words: Texts, config: Config) -> str:
        """Return the ranges of its numbers, such as `N: 1-10, SECONDS: 1-600`; empty if it takes no number."""
        bounds = {
            argument.shown(words).strip("[]").partition("|")[0]: argument.bounds(config) for argument in self.takes
        }
        return ", ".join(f"{name}: {text}" for name, text in bounds.items() if text)


DECLARED: dict[str, CommandSpec] = {}

Handler = TypeVar("Handler", bound=Callable[..., CommandResult])


def command(
    name: str, level: Level, *takes: Argument, example: str = "", reads: bool = False
) -> Callable[[Handler], Handler]:
    """Declare the decorated `handler(context, *values)` as command `name`.

    The handler receives one value per argument, None for an omitted optional one. It may raise Refused (shown as its
    text), LinkError (shown as "guard gone") or another CabinetError.
    """

    def declare(handler: Handler) -> Handler:
        assert name not in DECLARED, f"{name} is declared twice"
        DECLARED[name] = CommandSpec(name, level, takes, example or name, reads, handler)
        return handler

    return declare
