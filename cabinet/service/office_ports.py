"""What the property company's pages may ask of the service beyond `ports`: one protocol a subject.

Whoever does something is an `Actor`; the service checks the role again and writes one row of the audit log in the same
transaction as what was done. What is handed over and back is in `office_views`.
"""

import datetime
from typing import Protocol

from cabinet.clock import WallTime
from cabinet.service.office_views import (
    Actor,
    AuditEntry,
    AuditFilter,
    Comparison,
    DaySum,
    ImportPlan,
    ImportState,
    LoadView,
    Receipt,
    RecordView,
    ResidentPage,
    ResidentRow,
    Role,
    SampleCharge,
    SecondFactorView,
    StaffView,
    TariffLook,
    TariffView,
    TokenView,
    TripView,
    UsageSums,
    Utilisation,
    Verification,
)
from cabinet.service.ports import Unclosed, UsageFilter, UsageRecord
from cabinet.trips.format import Recording


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


class SecondFactorPort(Protocol):
    """A code of a phone beside the password, for whoever wants it: each member of staff for their own login."""

    async def state(self, actor: Actor) -> SecondFactorView: ...
    async def begin(self, actor: Actor) -> None:
        """A new secret, to be confirmed; nothing where it is on."""

    async def confirm(self, actor: Actor, code: str) -> list[str]:
        """On from now on; the recovery codes, which are not kept. Refuses expired, wrong_second_factor."""

    async def switch_off(self, actor: Actor, proof: str) -> None:
        """`proof` is the password, a code or a recovery code. Refuses wrong_second_factor, locked_out."""

    async def switch_off_for(self, actor: Actor, staff_id: int) -> None:
        """For somebody else who lost the phone. Refuses unknown_staff; not_allowed for one's own login."""


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

    def unclosed(self) -> Unclosed | None:
        """A month that is over and could not be closed."""


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


class TariffsPort(Protocol):
    async def posted(self, actor: Actor) -> list[TariffView]:
        """What is in force first, then what will be, then what is over."""

    async def look(self, actor: Actor, text: str) -> TariffLook: ...
    async def sample(self, actor: Actor, text: str, charge: SampleCharge) -> Receipt:
        """By a text that is not posted. Refuses bad_tariff, bad_choice."""

    async def sample_of(self, actor: Actor, version: str, charge: SampleCharge) -> Receipt:
        """By a posted one. Refuses unknown_tariff, bad_choice."""

    async def schedule(self, actor: Actor, text: str) -> str:
        """Into a new file of its own; returns its version. Refuses bad_tariff, not_future."""


class TokensPort(Protocol):
    async def all(self, actor: Actor) -> list[TokenView]: ...
    async def add(self, actor: Actor, name: str, scopes: tuple[str, ...], days: int) -> str:
        """Returned and not kept. Refuses bad_name, name_taken, bad_days."""

    async def revoke(self, actor: Actor, name: str) -> None:
        """Idempotent."""


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
    def tariffs(self) -> TariffsPort: ...
    @property
    def tokens(self) -> TokensPort: ...
    @property
    def trips(self) -> TripsPort: ...

    @property
    def staff(self) -> StaffPort: ...
    @property
    def second_factor(self) -> SecondFactorPort: ...
    @property
    def audit(self) -> AuditPort: ...
