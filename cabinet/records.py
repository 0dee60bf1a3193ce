"""Values of the business side: usage log, closings, staff and the audit log.

Store, reports, service, web and commands share them. Money is in fen, energy in mWh, power in mW; times for people are
`WallTime`.
"""

from typing import Literal, get_args

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.model import CostLine, EndReason, Fault

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
    "fleet_change", "fleet_refused",
)  # fmt: skip
"""Actions of the audit log; each has a text `audit.<action>`."""


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """Mean power over one step of the curve, `at_s` of powered time after the start."""

    at_s: int
    power_w: int


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One settled session in the usage log. `record_hash` = SHA-256 of its canonical JSON, `previous_hash` included."""

    number: int  # gapless from 1
    order_number: str
    session_id: str
    site_id: str
    outlet: int
    card: str = ""  # masked: last four characters; empty if the resident is erased. Not part of the hash
    started: WallTime
    ended: WallTime
    powered_s: int
    charging_s: int
    energy_mwh: int
    peak_power_mw: int
    mean_power_mw: int
    lines: list[CostLine]
    electricity_fen: int
    service_fen: int
    total_fen: int
    held_fen: int
    refund_fen: int
    end_reason: EndReason
    fault: Fault | None
    tariff_version: str
    previous_hash: str
    record_hash: str = ""
    holder: str = ""  # pseudonym of the resident: a random word, meaningless without the resident's own row


class UsageFilter(msgspec.Struct, frozen=True):
    """A selection of usage records: number above `after`, end time in [from, to), one outlet, one holder."""

    after: int = 0
    from_unix_ms: int | None = None
    to_unix_ms: int | None = None
    outlet: int | None = None
    holder: str | None = None


class UsageHead(msgspec.Struct, frozen=True):
    """The last record of a day. A copy kept elsewhere reveals later changes to that record or to an earlier one."""

    day: str  # in the site's time zone, such as 2026-11-30
    site_id: str
    number: int
    record_hash: str


class Closing(msgspec.Struct, frozen=True):
    """The closing of a month: sums of records `first_number` to `last_number`, and the hash of the last one."""

    number: int  # of the closing, gapless from 1
    site_id: str
    month: str  # the month closed, such as 2026-11
    first_number: int
    last_number: int
    last_hash: str
    energy_mwh: int
    electricity_fen: int
    service_fen: int
    made: WallTime
    key: str  # public, base64


class SignedClosing(msgspec.Struct, frozen=True):
    closing: Closing
    signature: str  # of the closing's canonical JSON, base64


class LoadSample(msgspec.Struct, frozen=True, gc=False):
    """The cabinet's load over five minutes from `start_unix_s` on."""

    start_unix_s: int
    mean_mw: int
    peak_mw: int
    limit_mw: int | None


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


FLEET = Actor(StaffView(0, "fleet", "operator"), "uplink")
"""Author of the changes that come from a fleet."""


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
