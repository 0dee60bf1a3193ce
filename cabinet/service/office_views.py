"""Who may do what on the property company's pages, and the values that `office_ports` hands over and back."""

import datetime
from typing import Literal, get_args

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.service.ports import CostLine, CurvePoint, PriceView, UsageRecord
from cabinet.trips.format import Mark

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
    "residents_import", "tariff_schedule", "token_add", "token_revoke",
    "usage_export", "usage_verify",
    "staff_add", "staff_role", "staff_password", "staff_remove",
    "second_factor_on", "second_factor_off", "recovery_code",
    "console",
)  # fmt: skip
"""What the audit log tells apart; each has a text `audit.<action>`."""


class StaffView(msgspec.Struct, frozen=True):
    staff_id: int
    name: str
    role: Role
    second_factor: bool = False  # as far as the list of everybody says


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


class SecondStep(msgspec.Struct, frozen=True):
    """The password was right and the login has a second factor: `key` goes with the code, within five minutes."""

    key: str


class SecondFactorView(msgspec.Struct, frozen=True):
    """Of one's own login. `secret` (as people type it) and `address` (of the QR code) only until it is on."""

    on: bool
    codes_left: int = 0  # recovery codes
    secret: str = ""
    address: str = ""


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
    closings: int = 0  # that hold, once it is over
    bad_closings: list[str] = []  # what is wrong with others, in English


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


class TokenView(msgspec.Struct, frozen=True):
    name: str
    scopes: tuple[str, ...]
    expires: WallTime
    days_left: int  # 0: expired


class TariffView(msgspec.Struct, frozen=True):
    """A tariff and what it is for; empty `outlets` or `groups`: all. `text`: its file, where it has one of its own."""

    price: PriceView
    source: str
    text: str
    outlets: list[int]
    groups: list[str]
    from_day: datetime.date | None
    until_day: datetime.date | None
    when: Literal["now", "later", "over"]


class TariffLook(msgspec.Struct, frozen=True):
    """What a new file says: its mistakes, a line each, or what it would be; `in_future` as it has to be to go in."""

    mistakes: list[str]
    tariff: TariffView | None
    in_future: bool


class SampleCharge(msgspec.Struct, frozen=True):
    """A charge at one power from that minute of a day on."""

    seconds: int
    power_w: int
    day: datetime.date
    minute: int


class Receipt(msgspec.Struct, frozen=True):
    lines: list[CostLine]
    electricity_fen: int
    service_fen: int
    version: str
