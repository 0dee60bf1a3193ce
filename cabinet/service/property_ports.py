"""The service's interface for the property, its pages and programs: `PropertyPort`, and one protocol per subject.

The person who acts is an `Actor`; the service checks the role again and writes one row of the audit log in the same
transaction as the action. Arguments and results are in `records`, `ports` and `property_views`.
"""

import datetime
from typing import Protocol

from cabinet.clock import WallTime
from cabinet.records import (
    Actor,
    AuditEntry,
    AuditFilter,
    Role,
    SignedClosing,
    StaffView,
    UsageFilter,
    UsageHead,
    UsageRecord,
)
from cabinet.service.ports import AccountsPort, ChargesPort, DayFigures, OverviewPort, Unclosed
from cabinet.service.property_views import (
    Comparison,
    DaySum,
    ImportPlan,
    ImportState,
    LoadView,
    PropertyResidentView,
    Receipt,
    RecordView,
    ResidentPage,
    SampleCharge,
    SecondFactorView,
    TariffPreview,
    TariffView,
    TokenView,
    TripView,
    UsageSums,
    Utilisation,
    Verification,
)
from cabinet.trips.format import Recording


class StaffPort(Protocol):
    async def actor(self, token: str, address: str, active: bool = True) -> Actor:
        """Return the person signed in. Refuses signed_out, also after long idleness.

        If not `active`, the idle time goes on.
        """

    async def everybody(self, actor: Actor) -> list[StaffView]: ...
    async def add(self, actor: Actor, name: str, role: Role) -> str:
        """Add a login; return its password, which is not kept. Refuses bad_name, name_taken."""

    async def set_role(self, actor: Actor, staff_id: int, role: Role) -> None:
        """Change the role of a login. Refuses unknown_staff, last_operator."""

    async def new_password(self, actor: Actor, staff_id: int) -> str:
        """Set and return a new password; sign the login out everywhere. Refuses unknown_staff."""

    async def remove(self, actor: Actor, staff_id: int) -> None:
        """Remove a login. Refuses unknown_staff, last_operator."""


class SecondFactorPort(Protocol):
    """A phone code in addition to the password: optional, set up by each member of staff for their own login."""

    async def state(self, actor: Actor) -> SecondFactorView: ...
    async def begin(self, actor: Actor) -> None:
        """Create a secret, to be confirmed; do nothing if the second factor is on."""

    async def confirm(self, actor: Actor, code: str) -> list[str]:
        """Switch it on; return the recovery codes, which are not kept. Refuses expired, wrong_second_factor."""

    async def switch_off(self, actor: Actor, proof: str) -> None:
        """Switch it off; `proof`: password, code or recovery code. Refuses wrong_second_factor, locked_out."""

    async def switch_off_for(self, actor: Actor, staff_id: int) -> None:
        """Switch it off for another person who lost the phone. Refuses unknown_staff; not_allowed for the own login."""


class AuditPort(Protocol):
    async def entries(self, actor: Actor, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
        """Return the entries that match `wanted`, newest first, at most 200."""

    async def staff_names(self, actor: Actor) -> list[str]:
        """Return the names of all staff in the log."""


class UsageLogPort(Protocol):
    """The usage log; its records are masked."""

    async def records(self, wanted: UsageFilter, limit: int) -> list[UsageRecord]:
        """Return the records that match `wanted`, in order of number; at most 1000, even if `limit` is higher."""

    async def closings(self) -> list[SignedClosing]:
        """Return the closings of all months, the oldest first."""

    async def heads(self, from_unix_ms: int | None, to_unix_ms: int | None) -> list[UsageHead]:
        """Return the head of every day with a charge that ended in [from, to), the oldest first."""

    async def public_key(self) -> str:
        """Return the public key that verifies closings, base64."""

    async def newest(self, actor: Actor, wanted: UsageFilter, before: int | None, limit: int) -> list[UsageRecord]:
        """Return records numbered below `before`, the newest first; at most 1000."""

    async def sums(self, actor: Actor, wanted: UsageFilter) -> UsageSums: ...
    async def record(self, actor: Actor, number: int) -> RecordView:
        """Return one record. Refuses unknown_record."""

    async def holder(self, actor: Actor, *, card: str = "", resident_id: int | None = None) -> str:
        """Return a resident's pseudonym in the log, if the actor may see residents; refuses unknown_resident."""

    async def note_export(self, actor: Actor, form: str, described: str) -> None: ...
    async def verify(self, actor: Actor) -> None:
        """Begin to verify the whole log, in a thread of its own; do nothing if a verification runs already."""

    def verification(self) -> Verification | None:
        """Return the verification's progress or result; None if there was none since the service started."""

    def unclosed(self) -> Unclosed | None:
        """Return the past month that could not be closed, if there is one."""


class StatisticsPort(Protocol):
    """Statistics by hour, day and month. Needs no more than `look`, which the page has checked."""

    async def today(self) -> DayFigures: ...
    async def comparison(self) -> Comparison: ...
    async def days(self, first: datetime.date, last: datetime.date) -> list[DaySum]:
        """Return one sum per day, the first day first; at most 366 days."""

    async def months(self, last: datetime.date, count: int) -> list[DaySum]:
        """Return the sums of `count` months up to that of `last`."""

    async def load(self, day: datetime.date) -> LoadView: ...
    async def utilisation(self, first: datetime.date, last: datetime.date) -> Utilisation: ...


class TripsPort(Protocol):
    """Recordings of the flight recorder."""

    async def newest(self, actor: Actor, before: int | None, outlet: int | None, limit: int) -> list[TripView]:
        """Return trips of `outlet` or of the whole cabinet, numbered below `before`, the newest first."""

    async def recording(self, actor: Actor, number: int) -> Recording:
        """Return one recording. Refuses unknown_trip."""

    async def usage_number(self, session_id: str) -> int | None:
        """Return the number of the charge's usage record; None if it has none (yet)."""


class ResidentsPort(Protocol):
    async def found(self, actor: Actor, words: str, after_id: int | None, limit: int) -> list[PropertyResidentView]:
        """Return masked residents by card, after `after_id`, if `words` begin or end the card or are in the name."""

    async def page(self, actor: Actor, resident_id: int, *, unmasked: bool = False) -> ResidentPage:
        """Return a resident's page; unmasked viewing is noted in the audit log.

        Refuses unknown_resident, as do all methods below.
        """

    async def top_up(self, actor: Actor, resident_id: int, amount_fen: int, request_key: str, note: str) -> None:
        """Top up a wallet; if `request_key` repeats, move nothing. Refuses bad_amount."""

    async def undo_top_up(self, actor: Actor, resident_id: int, transaction_number: int) -> None:
        """Reverse a top-up with a counter-posting, within a day. Refuses cannot_undo."""

    async def set_blocked(self, actor: Actor, resident_id: int, blocked: bool) -> None:
        """Block or unblock a card. A blocked card is signed out and starts nothing; a running charge goes on."""

    async def new_pin(self, actor: Actor, resident_id: int) -> str:
        """Set and return a new PIN, which is not kept; all sign-ins of the card end."""

    async def erase(self, actor: Actor, resident_id: int) -> None:
        """Erase all personal data permanently. Refuses charge_running, money_left."""


class ImportsPort(Protocol):
    """Import of residents from a spreadsheet: planned first, then all added or none."""

    async def plan(self, actor: Actor, content: bytes) -> ImportPlan:
        """Return the plan of an uploaded file. Refuses bad_file."""

    async def begin(self, actor: Actor, key: str) -> None:
        """Begin the import of a plan that the same actor made within the last quarter of an hour; refuses expired."""

    def state(self, actor: Actor, key: str) -> ImportState:
        """Return the progress of an import. Refuses expired."""


class TariffsPort(Protocol):
    def mistakes(self) -> list[str]:
        """Return the mistakes in tariff files, one line each; a file with mistakes is not used."""

    async def posted(self, actor: Actor) -> list[TariffView]:
        """Return the tariffs in force, then future ones, then past ones."""

    async def preview(self, actor: Actor, text: str) -> TariffPreview: ...
    async def sample(self, actor: Actor, text: str, charge: SampleCharge) -> Receipt:
        """Return a sample receipt by a tariff text that is not posted. Refuses bad_tariff, bad_choice."""

    async def sample_of(self, actor: Actor, version: str, charge: SampleCharge) -> Receipt:
        """Return a sample receipt by a posted tariff. Refuses unknown_tariff, bad_choice."""

    async def schedule(self, actor: Actor, text: str) -> str:
        """Post a tariff in a new file of its own; return its version. Refuses bad_tariff, not_future."""


class TokensPort(Protocol):
    async def all(self, actor: Actor) -> list[TokenView]: ...
    async def add(self, actor: Actor, name: str, scopes: tuple[str, ...], days: int) -> str:
        """Add and return a token, which is not kept. Refuses bad_name, name_taken, bad_days."""

    async def revoke(self, actor: Actor, name: str) -> None:
        """Revoke a token. Idempotent."""


class SharedPropertyPort(Protocol):
    """Functions for the property's pages that a cabinet and a fleet share.

    A method that cannot act raises `Refused` and changes nothing.
    """

    def wall(self) -> WallTime:
        """Return the time by the clock of the cabinet or the fleet."""

    @property
    def residents(self) -> ResidentsPort: ...
    @property
    def staff(self) -> StaffPort: ...
    @property
    def audit(self) -> AuditPort: ...


class PropertyPort(SharedPropertyPort, Protocol):
    """Functions for the property's pages and programs of one cabinet.

    Methods with an `actor` check the role; the caller of the others has checked a role or an API token.
    """

    @property
    def figures(self) -> StatisticsPort: ...
    @property
    def log(self) -> UsageLogPort: ...
    @property
    def imports(self) -> ImportsPort: ...
    @property
    def tariffs(self) -> TariffsPort: ...
    @property
    def tokens(self) -> TokensPort: ...
    @property
    def trips(self) -> TripsPort: ...
    @property
    def second_factor(self) -> SecondFactorPort: ...


class ServicePorts(Protocol):
    """Everything of the service that the web uses."""

    @property
    def charges(self) -> ChargesPort: ...
    @property
    def overview(self) -> OverviewPort: ...
    @property
    def accounts(self) -> AccountsPort: ...
    @property
    def property_(self) -> PropertyPort: ...
