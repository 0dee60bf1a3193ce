"""Messages between a cabinet and its fleet, both directions. Pure; JSON over MQTT 5.

Topics are `cab/<cabinet>/up/…` and `cab/<cabinet>/down/…`; the broker ties `<cabinet>` to the client certificate. Each
message carries the schema version `v`. Unknown fields are ignored, so a newer side may add some; an unknown kind of
fact or order, and a later schema version, are refused with a reason. Everything that goes down is signed (`orders`);
what goes up is proven by the connection's certificate, and the usage log by its own hash chain. States and facts may be
packed (`packing`).
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import CabinetError
from cabinet.model import EndReason, Fault
from cabinet.records import SignedClosing, UsageRecord
from cabinet.uplink import packing, schema

T = TypeVar("T")

_decoders: dict[object, msgspec.json.Decoder[Any]] = {}
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as JSON: a backslash before it would make it text

SCHEMA = 1  # with a new form of the messages, a new set of them is recorded: `cabinet_testing.recorded_messages`
OLDEST_SCHEMA = 1  # that is still taken: fleet and cabinets are one version apart while they are updated
MAX_MESSAGE = 64 * 1024  # bytes; a state of ten outlets has about 1.2 kB
MAX_FACTS = 50  # in one message
MAX_ORDER_LIFE_S = 60  # from the order's making to its `not_after`
ANSWER_WITHIN_S = 15  # after that, the fleet asks
DEAD_AFTER_S = 30  # after `not_after`: an order whose fate is still unknown is dead on both sides

MAX_OUTLET = 99

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Short = Annotated[str, msgspec.Meta(max_length=64)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Measured = Annotated[int, msgspec.Meta(ge=-(2**40), le=2**40)]  # thousands of them can be summed in 64 bits
Outlet = Annotated[int, msgspec.Meta(ge=1, le=MAX_OUTLET)]
OutletOrCabinet = Annotated[int, msgspec.Meta(ge=0, le=MAX_OUTLET)]  # 0 is the cabinet
OrderNumber = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9][A-Z0-9-]{7,31}$")]
KeyId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
CabinetId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{2,31}$")]


class MessageError(CabinetError):
    """A message that cannot be decoded, or is of an unknown kind or schema version."""


def up(cabinet: str, name: str) -> str:
    """Return the topic of a message from the cabinet: online, state, facts, answer or csr."""
    return f"cab/{cabinet}/up/{name}"


def down(cabinet: str, name: str) -> str:
    """Return the topic of a message to the cabinet: order, ack, desired, certificate or keys."""
    return f"cab/{cabinet}/down/{name}"


# --- up --------------------------------------------------------------------------------------------------------------


class OutletPlace(msgspec.Struct, frozen=True):
    """An outlet, the code printed on its sticker, and its rating, from which the fleet computes what it holds."""

    number: Outlet
    code: Word
    max_power_w: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000


class Online(msgspec.Struct, frozen=True):
    """Published (retained) at every connect; the will publishes `online` False after a delay of 45 s."""

    online: bool
    v: int = SCHEMA
    boot: Short = ""
    epoch: Short = ""
    software: Short = ""
    site_id: str = ""
    timezone: str = ""
    usage_key: Short = ""  # public key of the monthly closings, base64
    keys: Annotated[list[KeyId], msgspec.Meta(max_length=2)] = []  # of the fleet, that may sign for this cabinet
    outlets: Annotated[list[OutletPlace], msgspec.Meta(max_length=MAX_OUTLET)] = []


class OutletReport(msgspec.Struct, frozen=True):
    """One outlet. `refusal`: the code if no charge can start now; the rest is of the running charge."""

    number: OutletOrCabinet
    condition: Literal["free", "in_use", "needs_service", "unreachable"]
    refusal: Short | None = None
    fault: Fault | None = None
    temperature_mc: Measured | None = None
    note: str = ""
    session_id: Short | None = None
    order: Short | None = None  # the fleet's order number, if the charge was started by one
    phase: str = ""  # the session's state
    power_mw: Measured | None = None
    energy_mwh: Measured = 0
    powered_s: Measured = 0
    charging_s: Measured = 0
    cost_fen: Measured = 0
    suspended_for: Fault | None = None


class StateReport(msgspec.Struct, frozen=True):
    """The whole cabinet in one message, retained. Losing one loses nothing.

    `challenge` must be quoted by the next start; `versions` are the desired things in force, by kind; `facts` is the
    highest fact number written, `acked` the highest one acknowledged.
    """

    at: WallTime
    boot: Short
    epoch: Short
    challenge: Short
    outlets: Annotated[list[OutletReport], msgspec.Meta(max_length=MAX_OUTLET)]
    v: int = SCHEMA
    accepting: Short | None = None  # the code if no session starts at all
    fault: Fault | None = None  # of the cabinet as a whole
    feed_mw: Measured | None = None
    feed_limit_mw: Measured | None = None
    waiting: Measured = 0
    problems: list[str] = []  # of the computer, as codes
    software: Short = ""
    versions: dict[str, Annotated[int, msgspec.Meta(ge=0, lt=2**31)]] = {}
    rejected: dict[str, str] = {}  # desired things that were refused: kind → reason
    facts: Measured = 0
    acked: Measured = 0
    signal: int | None = None  # of the 4G modem, dBm


class SessionStarted(msgspec.Struct, frozen=True, tag="session_started", tag_field="kind"):
    session_id: Word
    order_number: str  # of the cabinet
    outlet: Outlet
    choice: str
    choice_amount: int
    held_fen: int
    tariff_version: str
    started: WallTime
    order: Short | None = None
    holder: str = ""  # pseudonym of a resident of the cabinet


class SessionSettled(msgspec.Struct, frozen=True, tag="session_settled", tag_field="kind"):
    """A usage record; the fleet checks its hash and its place in the chain."""

    record: UsageRecord
    order: Short | None = None


class OrderRefused(msgspec.Struct, frozen=True, tag="order_refused", tag_field="kind"):
    """An order that was accepted on disk, and then ended without a charge: nothing is owed."""

    order: Short
    code: Short


class MonthClosed(msgspec.Struct, frozen=True, tag="month_closed", tag_field="kind"):
    signed: SignedClosing


class AlarmChanged(msgspec.Struct, frozen=True, tag="alarm", tag_field="kind"):
    """A fault that latched or a protection that opened something, and its end. Outlet 0 is the cabinet."""

    outlet: OutletOrCabinet
    fault: Fault
    raised: bool
    at: WallTime


class TripReport(msgspec.Struct, frozen=True, tag="trip", tag_field="kind"):
    outlet: OutletOrCabinet
    fault: Fault
    at: WallTime
    peak_ma: Measured | None = None
    session_id: Short | None = None


FactBody = SessionStarted | SessionSettled | OrderRefused | MonthClosed | AlarmChanged | TripReport


class Fact(msgspec.Struct, frozen=True):
    """One row of the outbox. `body` stays undecoded: a fleet that does not know its kind sets it aside and goes on."""

    number: int  # gapless from 1 in its epoch
    body: msgspec.Raw


class Facts(msgspec.Struct, frozen=True):
    epoch: Word
    facts: Annotated[list[Fact], msgspec.Meta(max_length=MAX_FACTS)]
    v: int = SCHEMA


Outcome = Literal["accepted", "refused", "unknown", "ended"]


class Answer(msgspec.Struct, frozen=True):
    """The cabinet's answer to a start, a stop or a question.

    accepted: on disk, and the guard closed the outlet; refused: nothing started, for the reason `code`; ended: the
    charge is over (its record comes as a fact); unknown: this order was never received and is dead if its time is over.
    """

    order: Short
    outcome: Outcome
    v: int = SCHEMA
    code: Short | None = None
    session_id: Short | None = None
    epoch: Short = ""
    end_reason: EndReason | None = None


class CertificateRequest(msgspec.Struct, frozen=True):
    csr_pem: Annotated[str, msgspec.Meta(max_length=4096)]
    v: int = SCHEMA


# --- down ------------------------------------------------------------------------------------------------------------


class StartOrder(msgspec.Struct, frozen=True, kw_only=True, tag="start", tag_field="kind"):
    """Start a charge now, or never. `boot` and `challenge` are those of the cabinet's last state."""

    v: int = SCHEMA
    cabinet: CabinetId
    epoch: Word
    boot: Word
    challenge: Word
    order: OrderNumber
    outlet: Outlet
    choice: Literal["full", "hours", "amount", "package"]
    choice_amount: Number = 0  # seconds for hours and package, fen for amount
    group: Annotated[str, msgspec.Meta(max_length=64)] = ""  # selects the tariff
    tariff_version: Annotated[str, msgspec.Meta(max_length=64)]
    held_fen: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    max_energy_mwh: Number | None = None
    max_charging_s: Number | None = None
    not_after_unix_ms: Number


class StopOrder(msgspec.Struct, frozen=True, kw_only=True, tag="stop", tag_field="kind"):
    v: int = SCHEMA
    cabinet: CabinetId
    epoch: Word
    order: OrderNumber
    by: Literal["resident", "staff"] = "resident"


class AskOrder(msgspec.Struct, frozen=True, kw_only=True, tag="ask", tag_field="kind"):
    """Ask for the state of an order; the answer is an `Answer`."""

    v: int = SCHEMA
    cabinet: CabinetId
    epoch: Word
    order: OrderNumber


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look", tag_field="kind"):
    """A person views this cabinet: send its state every 2 s for the next `seconds`.

    `challenge` is that of its last state, so a look that was recorded costs no mobile data later.
    """

    v: int = SCHEMA
    cabinet: CabinetId
    challenge: Word
    seconds: Annotated[int, msgspec.Meta(ge=1, le=60)] = 30


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack", tag_field="kind"):
    """All facts of `epoch` up to `number` are committed at the fleet.

    With `again`, those after it are missing there, after a restore from a backup: they are to be sent again. Then
    `challenge` is that of the cabinet's last state; without it, a repetition does nothing.
    """

    v: int = SCHEMA
    cabinet: CabinetId
    epoch: Word
    number: Number
    again: bool = False
    challenge: Short = ""


DesiredKind = Literal["tariffs", "out_of_service", "blocked_cards", "public_url", "sticker_text"]


class Desired(msgspec.Struct, frozen=True, kw_only=True, tag="desired", tag_field="kind"):
    """State that should be in force at the cabinet; a lower version than the present one is ignored.

    `value`: tariffs: [{"file": TOML text}]; out_of_service: {"<outlet>": note}; blocked_cards: [card]; public_url and
    sticker_text: text.
    """

    v: int = SCHEMA
    cabinet: CabinetId
    what: DesiredKind
    version: Annotated[int, msgspec.Meta(ge=1)]
    value: msgspec.Raw


class Certificate(msgspec.Struct, frozen=True, kw_only=True, tag="certificate", tag_field="kind"):
    """A renewed client certificate, for the key of the cabinet's last request."""

    v: int = SCHEMA
    cabinet: CabinetId
    certificate_pem: Annotated[str, msgspec.Meta(max_length=16384)]


class FleetKey(msgspec.Struct, frozen=True):
    """A public key of the fleet's orders; two at most are valid at once."""

    key_id: KeyId
    public: str  # Ed25519, base64


class TrustKeys(msgspec.Struct, frozen=True, kw_only=True, tag="keys", tag_field="kind"):
    """The keys that may sign for this cabinet from now on, signed with one that may now."""

    v: int = SCHEMA
    cabinet: CabinetId
    keys: Annotated[list[FleetKey], msgspec.Meta(min_length=1, max_length=2)]


Down = StartOrder | StopOrder | AskOrder | Look | Ack | Desired | Certificate | TrustKeys


# --- enrolment (https, before there is a certificate) ----------------------------------------------------------------


class Enrol(msgspec.Struct, frozen=True):
    """Body of POST /enrol."""

    code: Annotated[str, msgspec.Meta(min_length=8, max_length=64)]
    csr_pem: Annotated[str, msgspec.Meta(max_length=4096)]
    site_id: Word
    v: int = SCHEMA


class Enrolled(msgspec.Struct, frozen=True):
    """Answer to `Enrol`; everything the cabinet needs to connect."""

    cabinet: CabinetId
    certificate_pem: str
    ca_pem: str  # signs the broker's certificate and the cabinets'
    host: str
    port: int
    keys: Annotated[list[FleetKey], msgspec.Meta(min_length=1, max_length=2)]
    public_url: str
    v: int = SCHEMA


class EnrolRefused(msgspec.Struct, frozen=True):
    """Body of any other answer to `Enrol`: code_refused, too_many_tries or bad_request."""

    code: Word


# --- codec -----------------------------------------------------------------------------------------------------------


def encode(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def unpack(payload: bytes) -> bytes:
    """Return the JSON of a payload that may be packed (`packing.pack`). Raises MessageError."""
    try:
        return packing.unpack(payload, MAX_MESSAGE)
    except packing.PackingError as error:
        raise MessageError(str(error)) from error


def encode_fact(body: FactBody) -> bytes:
    return msgspec.json.encode(body)


def decode_fact(body: bytes | msgspec.Raw) -> FactBody:
    """Raises MessageError for an unknown kind or a bad value."""
    return _decode(bytes(body), FactBody)  # type: ignore[arg-type]


def decode_online(payload: bytes) -> Online:
    return _decode(payload, Online)


def decode_state(payload: bytes) -> StateReport:
    return _decode(payload, StateReport)


def decode_facts(payload: bytes) -> Facts:
    """Raises MessageError. A fact that holds a NUL is refused by itself (`decode_fact`), not the message."""
    facts = _decode(payload, Facts, nul=True)
    if "\0" in facts.epoch:
        raise MessageError("an epoch with a NUL")
    return facts


def decode_answer(payload: bytes) -> Answer:
    return _decode(payload, Answer)


def decode_csr(payload: bytes) -> CertificateRequest:
    return _decode(payload, CertificateRequest)


def decode_down(body: bytes) -> Down:
    """Decode the body of a signed message; `orders.open_signed` checks the signature first. Raises MessageError."""
    return _decode(body, Down)  # type: ignore[arg-type]


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a kind; to make one takes ten times as long as to decode a fact."""
    found = _decoders.get(kind)
    if found is None:
        found = _decoders[kind] = msgspec.json.Decoder(kind)
    return found


def _decode(payload: bytes, kind: type[T], *, nul: bool = False) -> T:
    """Return the message. Raises MessageError for every payload that is none; also for a NUL, which no database takes.

    msgspec raises two errors besides its own: for bytes that are not UTF-8, and for JSON that is nested too deep.
    """
    payload = unpack(payload)
    if len(payload) > MAX_MESSAGE:
        raise MessageError(f"a message of {len(payload)} bytes; at most {MAX_MESSAGE} are taken")
    if not nul and b"\\u0000" in payload and _NUL.search(payload):  # the search takes longer than all else together
        raise MessageError("holds a NUL")
    try:
        message = _decoder(kind).decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _check_schema(schema.version_in(payload))
        raise MessageError(str(error)) from error
    _check_schema(getattr(message, "v", None))
    return message


def _check_schema(found: int | None) -> None:
    if found is not None and not OLDEST_SCHEMA <= found <= SCHEMA:
        raise MessageError(f"of schema version {found}: {OLDEST_SCHEMA} to {SCHEMA} are taken")
