"""Permissions on the property pages, and the arguments and results of `office_ports`."""

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
"""Actions of the audit log; each has a text `audit.<action>`."""


class StaffView(msgspec.Struct, frozen=True):
    staff_id: int
    name: str
    role: Role
    second_factor: bool = False  # set in the list of all staff only


class Actor(msgspec.Struct, frozen=True):
    """A member of staff who is signed in, and the network address of the request."""

    staff: StaffView
    address: str

    def may(self, task: Task) -> bool:
        return task in MAY[self.staff.role]

    def require(self, task: Task) -> None:
        """Check the permission. Refuses not_allowed."""
        if not self.may(task):
            raise Refused("not_allowed")


class SecondStep(msgspec.Struct, frozen=True):
    """The answer if the password was right and a second factor is on: send `key` with the code within five minutes."""

    key: str


class SecondFactorView(msgspec.Struct, frozen=True):
    """The second factor of the own login. `secret` (for typing) and `address` (for the QR code) only until it is on."""

    on: bool
    codes_left: int = 0  # recovery codes
    secret: str = ""
    address: str = ""


class AuditEntry(msgspec.Struct, frozen=True):
    """One action of a person. `subject` and `detail` are names and numbers, the same in every language.

    A resident is identified by number: personal data can be erased, and this log stays.
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
    """A selection of entries: below `before`, made in [from, to), by one member of staff, one action, one resident."""

    before: int | None = None
    from_unix_ms: int | None = None
    to_unix_ms: int | None = None
    staff: str = ""
    action: str = ""
    resident_id: int | None = None


class UsageSums(msgspec.Struct, frozen=True):
    """Sums of all records that match a filter."""

    sessions: int
    charging_s: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int


class RecordView(msgspec.Struct, frozen=True):
    """One record as stored: `body` is the text hashed. `last_number` is that of the newest record."""

    record: UsageRecord
    body: str
    hash_is_right: bool
    last_number: int
    resident_id: int | None
    curve: list[CurvePoint]


class Verification(msgspec.Struct, frozen=True):
    """The last or the running verification of the whole log. `bad_number` is None if every record is as written.

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
    closings: int = 0  # number of closings, when it is over
    bad_closings: list[str] = []  # problems of closings, in English


class LoadSample(msgspec.Struct, frozen=True, gc=False):
    """The cabinet's load over five minutes from `start_unix_s` on."""

    start_unix_s: int
    mean_mw: int
    peak_mw: int
    limit_mw: int | None


class LoadView(msgspec.Struct, frozen=True):
    """A day's load. `limit_mw` is the feed's limit, the present one if the day has none."""

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
    """Sums of charges that ended from `first` to `last`, both included: one day, or one month."""

    first: datetime.date
    last: datetime.date
    sums: UsageSums


class Utilisation(msgspec.Struct, frozen=True):
    """Use of each outlet and of the whole cabinet, in percent of each hour of the day: 24 values.

    None if the hour has not passed yet.
    """

    outlets: dict[int, list[int | None]]
    all_outlets: list[int | None]


class TripView(msgspec.Struct, frozen=True):
    """One recording of the flight recorder; `at` is None if its file is damaged. `usage_numbers` by session."""

    number: int
    at: WallTime | None
    marks: list[Mark]
    usage_numbers: dict[str, int] = {}


class ResidentRow(msgspec.Struct, frozen=True):
    """One resident. If `masked`, card and name show only enough to distinguish residents."""

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
    """One movement of a wallet, and the balance after it. `kind` as in the ledger."""

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
    """One mistake in a file. `code` has a text `import.<code>` with the placeholder `word`."""

    line: int
    code: str
    word: str


class ImportedRow(msgspec.Struct, frozen=True):
    line: int
    card: str
    name: str
    group: str
    first_fen: int
    pin: str = ""  # set when added


class ImportPlan(msgspec.Struct, frozen=True):
    """Plan of an import. If there are `mistakes`, it adds nothing and `key` is empty. `rows`: the first few, masked."""

    key: str
    count: int
    total_fen: int
    rows: list[ImportedRow]
    mistakes: list[ImportMistake]


class ImportState(msgspec.Struct, frozen=True):
    """Progress of an import: `rows` with their PINs, when all are added; `failed` is the code of a refusal."""

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
    """A tariff and its scope; empty `outlets` or `groups`: all. `text`: its file, if it has one of its own."""

    price: PriceView
    source: str
    text: str
    outlets: list[int]
    groups: list[str]
    from_day: datetime.date | None
    until_day: datetime.date | None
    when: Literal["now", "later", "over"]


class TariffLook(msgspec.Struct, frozen=True):
    """A new file's mistakes, a line each, or its tariff, which can be posted only if `in_future`."""

    mistakes: list[str]
    tariff: TariffView | None
    in_future: bool


class SampleCharge(msgspec.Struct, frozen=True):
    """A charge at constant power from `minute` of `day` on."""

    seconds: int
    power_w: int
    day: datetime.date
    minute: int


class Receipt(msgspec.Struct, frozen=True):
    lines: list[CostLine]
    electricity_fen: int
    service_fen: int
    version: str
