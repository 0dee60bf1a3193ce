"""Arguments and results of `property_ports`, as far as they are not in `records`."""

import datetime
from typing import Literal

import msgspec

from cabinet.clock import WallTime
from cabinet.model import CostLine
from cabinet.records import CurvePoint, LoadSample, UsageRecord
from cabinet.service.ports import PriceView
from cabinet.trips.format import TripMark


class SecondFactorView(msgspec.Struct, frozen=True):
    """The second factor of the own login. `secret` (for typing) and `address` (for the QR code) only until it is on."""

    on: bool
    codes_left: int = 0  # recovery codes
    secret: str = ""
    address: str = ""


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
    marks: list[TripMark]
    usage_numbers: dict[str, int] = {}


class PropertyResidentView(msgspec.Struct, frozen=True):
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


class PropertyWalletLine(msgspec.Struct, frozen=True):
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
    resident: PropertyResidentView
    lines: list[PropertyWalletLine]  # newest first
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


class TariffPreview(msgspec.Struct, frozen=True):
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
