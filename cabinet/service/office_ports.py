"""What the property company's pages may ask of the service beyond `ports`: who may do what, and everything done.

One protocol a subject. Whoever does something is an `Actor`; the service checks the role again and writes one row of
the audit log in the same transaction as what was done.
"""

import datetime
from typing import Literal, Protocol, get_args

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.service.ports import CurvePoint, UsageFilter, UsageRecord
from cabinet.trips.format import Mark, Recording

Role = Literal["operator", "accountant", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)

Task = Literal["look", "money", "residents", "tariffs", "tokens", "staff", "audit"]
"""look: everything without names; money: residents and their wallets; residents: import, block, erase."""

MAY: dict[Role, frozenset[Task]] = {
    "operator": frozenset(get_args(Task)),
    "accountant": frozenset({"look", "money", "audit"}),
    "viewer": frozenset({"look"}),
}

ACTIONS = (
    "sign_in",
    "top_up", "top_up_undo", "resident_reveal", "resident_block", "resident_unblock", "resident_pin", "resident_erase",
    "residents_import",
    "usage_export", "usage_verify",
    "staff_add", "staff_role", "staff_password", "staff_remove",
)  # fmt: skip
"""What the audit log tells apart; each has a text `audit.<action>`."""


class StaffView(msgspec.Struct, frozen=True):
    staff_id: int
    name: str
    role: Role


class Actor(msgspec.Struct, frozen=True):
    """A member of staff who is signed in, and the network address the request came from."""

    staff: StaffView
    address: str

    def may(self, task: Task) -> bool:
        return task in MAY[self.staff.role]

    def require(self, task: Task) -> None:
        """Refuses not_allowed."""
        if not self.may(task):
            raise Refused("not_allowed")


class AuditEntry(msgspec.Struct, frozen=True):
    """One thing that somebody did. `subject` and `detail` are names and figures, the same in every language.

    A resident is named by number: what personal data there was can be erased, and this log stays.
    """

    number: int
    at: WallTime
    staff: str
    role: Role
    address: str
    action: str
    resident_id: int | None
    subject: str
    detail: str


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries: below `before`, made in [from, to), by one member of staff, of one action, about one resident."""

    before: int | None = None
    from_unix_ms: int | None = None
    to_unix_ms: int | None = None
    staff: str = ""
    action: str = ""
    resident_id: int | None = None


class UsageSums(msgspec.Struct, frozen=True):
    """Of all records that a filter describes."""

    sessions: int
    charging_s: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int


class RecordView(msgspec.Struct, frozen=True):
    """One record as it is kept: `body` is what is hashed. `last_number` is that of the newest record."""

    record: UsageRecord
    body: str
    hash_is_right: bool
    last_number: int
    resident_id: int | None
    curve: list[CurvePoint]


class Verification(msgspec.Struct, frozen=True):
    """The last walk through the whole log, or the one that goes on. `bad_number` None: all of it is as written.

    `bad_kind` is one of edited, dropped, inserted, reordered; `problem` the same with its details, in English.
    """

    running: bool
    done: int
    total: int
    started: WallTime
    bad_number: int | None = None
    bad_kind: str = ""
    problem: str = ""
    failed: bool = False  # the file could not be read


class LoadSample(msgspec.Struct, frozen=True, gc=False):
    """The cabinet's load over five minutes from `start_unix_s` on."""

    start_unix_s: int
    mean_mw: int
    peak_mw: int
    limit_mw: int | None


class LoadView(msgspec.Struct, frozen=True):
    """A day's load. `limit_mw` is the feed's limit, as it is now where the day has none."""

    step_s: int
    from_unix_s: int
    to_unix_s: int
    samples: list[LoadSample]
    limit_mw: int | None


class Comparison(msgspec.Struct, frozen=True):
    """Charges that ended today, and those that had ended by the same time of the same day a week ago."""

    today: UsageSums
    before: UsageSums
    day: datetime.date
    day_before: datetime.date
    until: WallTime


class DaySum(msgspec.Struct, frozen=True):
    """Of charges that ended from `first` to `last`, both included: one day, or one month."""

    first: datetime.date
    last: datetime.date
    sums: UsageSums


class Utilisation(msgspec.Struct, frozen=True):
    """For each outlet, and for the whole cabinet, how much of each hour of the day it was in use: 24 percentages.

    None: that hour was not yet.
    """

    outlets: dict[int, list[int | None]]
    all_outlets: list[int | None]


class TripView(msgspec.Struct, frozen=True):
    """One recording of the flight recorder; `at` None: its file is damaged. `usage_numbers` by session."""

    number: int
    at: WallTime | None
    marks: list[Mark]
    usage_numbers: dict[str, int] = {}


class ResidentRow(msgspec.Struct, frozen=True):
    """`masked`: card and name show only as much as is needed to tell one from another."""

    resident_id: int
    card: str
    name: str
    masked: bool
    blocked: bool
    group: str
    guest: bool
    balance_fen: int
    held_fen: int


class WalletLine(msgspec.Struct, frozen=True):
    """One movement of a wallet, and what was in it afterwards. `kind` as in the ledger."""

    number: int  # of the ledger's transaction
    at: WallTime
    kind: str
    amount_fen: int
    balance_fen: int
    note: str
    usage_number: int | None
    can_be_undone: bool
    undone: bool


class ResidentPage(msgspec.Struct, frozen=True):
    resident: ResidentRow
    lines: list[WalletLine]  # newest first
    more_lines: bool
    charging: bool


class ImportMistake(msgspec.Struct, frozen=True):
    """`code` has a text `import.<code>` with the blank `word`."""

    line: int
    code: str
    word: str


class ImportedRow(msgspec.Struct, frozen=True):
    line: int
    card: str
    name: str
    group: str
    first_fen: int
    pin: str = ""  # once it was added


class ImportPlan(msgspec.Struct, frozen=True):
    """What a file would add. With `mistakes` it adds nothing and `key` is empty. `rows`: the first of them, masked."""

    key: str
    count: int
    total_fen: int
    rows: list[ImportedRow]
    mistakes: list[ImportMistake]


class ImportState(msgspec.Struct, frozen=True):
    """`rows` with their PINs, once all are added; `failed` is the code of a refusal."""

    done: int
    total: int
    rows: list[ImportedRow]
    failed: str = ""


class StaffPort(Protocol):
    async def actor(self, token: str, address: str, active: bool = True) -> Actor:
        """Who is signed in; refuses signed_out, also after long idleness. Not `active`: the idle time goes on."""

    async def everybody(self) -> list[StaffView]: ...
    async def add(self, actor: Actor, name: str, role: Role) -> str:
        """A new login; returns its password, which is not kept. Refuses bad_name, name_taken."""

    async def set_role(self, actor: Actor, staff_id: int, role: Role) -> None:
        """Refuses unknown_staff, last_operator."""

    async def new_password(self, actor: Actor, staff_id: int) -> str:
        """Signs the login out everywhere. Refuses unknown_staff."""

    async def remove(self, actor: Actor, staff_id: int) -> None:
        """Refuses unknown_staff, last_operator."""


class AuditPort(Protocol):
    async def entries(self, actor: Actor, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
        """Newest first, at most 200."""

    async def staff_names(self, actor: Actor) -> list[str]:
        """Of everybody who is in the log."""


class LogPort(Protocol):
    """The usage log; its records are masked."""

    async def newest(self, actor: Actor, wanted: UsageFilter, before: int | None, limit: int) -> list[UsageRecord]:
        """The last first, numbered below `before`; at most 1000."""

    async def sums(self, actor: Actor, wanted: UsageFilter) -> UsageSums: ...
    async def record(self, actor: Actor, number: int) -> RecordView:
        """Refuses unknown_record."""

    async def holder(self, actor: Actor, *, card: str = "", resident_id: int | None = None) -> str:
        """What stands for a resident in the log, for who may see residents; refuses unknown_resident."""

    async def note_export(self, actor: Actor, form: str, described: str) -> None: ...
    async def verify(self, actor: Actor) -> None:
        """Begin to walk through the whole log, in a thread of its own; nothing where somebody has begun already."""

    def verification(self) -> Verification | None:
        """How far it is or how it went; None since the service started."""


class FiguresPort(Protocol):
    """What the cabinet does over hours, days and months. Needs no more than `look`, which the page has checked."""

    async def comparison(self) -> Comparison: ...
    async def days(self, first: datetime.date, last: datetime.date) -> list[DaySum]:
        """One a day, the first first; at most 366."""

    async def months(self, last: datetime.date, count: int) -> list[DaySum]:
        """So many months up to that of `last`."""

    async def load(self, day: datetime.date) -> LoadView: ...
    async def utilisation(self, first: datetime.date, last: datetime.date) -> Utilisation: ...


class TripsPort(Protocol):
    """What the flight recorder kept."""

    async def newest(self, actor: Actor, before: int | None, outlet: int | None, limit: int) -> list[TripView]:
        """The last first, numbered below `before`, with a trip of `outlet` or of the whole cabinet."""

    async def recording(self, actor: Actor, number: int) -> Recording:
        """Refuses unknown_trip."""

    async def usage_number(self, session_id: str) -> int | None:
        """Of the record of that charge; None where it has none (yet)."""


class ResidentsPort(Protocol):
    async def found(self, actor: Actor, words: str, after_id: int | None, limit: int) -> list[ResidentRow]:
        """By card, masked, after that of a resident; whose card begins or ends so, or whose name has the words."""

    async def page(self, actor: Actor, resident_id: int, *, unmasked: bool = False) -> ResidentPage:
        """To see it unmasked is noted in the audit log. Refuses unknown_resident, as all below."""

    async def top_up(self, actor: Actor, resident_id: int, amount_fen: int, request_key: str, note: str) -> None:
        """The same `request_key` again moves nothing. Refuses bad_amount."""

    async def undo_top_up(self, actor: Actor, resident_id: int, transaction_number: int) -> None:
        """A posting the other way round, for a day. Refuses cannot_undo."""

    async def set_blocked(self, actor: Actor, resident_id: int, blocked: bool) -> None:
        """A blocked card is signed out and starts nothing; a running charge goes on."""

    async def new_pin(self, actor: Actor, resident_id: int) -> str:
        """Returned and not kept; whoever was signed in with the card is signed out."""

    async def erase(self, actor: Actor, resident_id: int) -> None:
        """Everything personal, for good. Refuses charge_running, money_left."""


class ImportsPort(Protocol):
    """Residents out of a spreadsheet: looked at first, then added all together or not at all."""

    async def plan(self, actor: Actor, content: bytes) -> ImportPlan:
        """Refuses bad_file."""

    async def begin(self, actor: Actor, key: str) -> None:
        """Of a plan made within the last quarter of an hour by the same actor; refuses expired."""

    def state(self, actor: Actor, key: str) -> ImportState:
        """Refuses expired."""


class OfficePort(Protocol):
    """Everything raises `Refused` where it cannot be done, and then nothing is done."""

    def wall(self) -> WallTime:
        """Now, by the cabinet's clock."""

    @property
    def figures(self) -> FiguresPort: ...
    @property
    def log(self) -> LogPort: ...
    @property
    def residents(self) -> ResidentsPort: ...
    @property
    def imports(self) -> ImportsPort: ...
    @property
    def trips(self) -> TripsPort: ...

    @property
    def staff(self) -> StaffPort: ...
    @property
    def audit(self) -> AuditPort: ...
