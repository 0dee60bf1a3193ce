"""Protocol of `guard.sock`: frames, commands, and the roles that may send each. Pure: no sockets here.

A frame is one SEQPACKET datagram with one msgpack-encoded message of the unions below. The client sends `Hello` first;
the guard answers every command with `Done` or `Refusal` of the same `id`. Commands are idempotent: the same command
sent twice, with the same or another `id`, leaves the same state and gets the same kind of answer.
"""

import enum
from typing import Annotated, get_args

import msgspec

from cabinet.errors import LinkError
from cabinet.maintenance import MAX_NOTE, Gains, MaintenanceState
from cabinet.model import ChargeLimits, EndReason, Event, NotNegative, Snapshot
from cabinet.system.frame_codec import decoding

VERSION = 3
MAX_FRAME = 128 * 1024  # bytes; a snapshot of 40 outlets with the longest words is under half of it
MAX_COMMAND = 4096  # bytes; the longest valid one is under 500

# All text from a client ends up in events and snapshots: these bounds limit those too.
Word = Annotated[str, msgspec.Meta(max_length=64)]
Note = Annotated[str, msgspec.Meta(max_length=MAX_NOTE)]
MAX_TRIAL_S = 600
MAX_CYCLES = 20
MAX_SIREN_S = 10


class Role(enum.Enum):
    """Role of a client towards the guard."""

    SERVICE = "service"  # the only one to acknowledge events
    CONSOLE = "console"
    VIEWER = "viewer"  # reads only


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First frame of a client. With `snapshots` the guard publishes to it.

    Only role SERVICE gets events: all not yet acknowledged, again on every connection, oldest first.
    """

    role: Role
    version: int = VERSION
    snapshots: bool = True


class Energise(msgspec.Struct, frozen=True, tag="energise"):
    """Close `outlet` for `session_id` after the pre-close check, until a limit, an end or a trip.

    If it is sent again for the session already there, it only replaces the limits. `used` is the usage of an
    interrupted session so far: it counts against the limits, and a session that had load does not wait for it again.
    """

    id: int
    outlet: int
    session_id: Word
    limits: ChargeLimits
    used_charging_ms: NotNegative = 0
    used_energy_mwh: NotNegative = 0
    used_powered_ms: NotNegative = 0
    had_load: bool = False


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Open `outlet`, ending its charge with `reason`; with `session_id`, only if that is the session there.

    The answer is also `Done` if the outlet is open already, or holds another session (then nothing is changed).
    """

    id: int
    outlet: int
    reason: EndReason
    session_id: Word | None = None
    who: Word = ""


class ClearLatch(msgspec.Struct, frozen=True, tag="clear_latch"):
    """Clear the latch, as staff have removed its cause: the outlet may close once the pre-close check passes.

    `outlet` 0 (`model.CABINET`) clears the latch of the whole cabinet and silences its siren.
    """

    id: int
    outlet: int
    who: Word


class StartTestCharge(msgspec.Struct, frozen=True, tag="try"):
    """Close `outlet` for a test charge, after the pre-close check; after `seconds` the guard opens it by itself.

    If a resident charges there, that charge ends first with `forced`; otherwise the command is refused. If it is sent
    again, the time starts again.
    """

    id: int
    outlet: int
    seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_TRIAL_S)]
    who: Word
    forced: bool = False


class TakeOutOfService(msgspec.Struct, frozen=True, tag="lock"):
    """Take `outlet` out of service with a note for residents; with `note` None, put it back into service.

    The lock survives restarts. Staff may still close a locked outlet for a test.
    """

    id: int
    outlet: int
    note: Note | None
    who: Word
    forced: bool = False


class SetContactorLockout(msgspec.Struct, frozen=True, tag="hold_contactor"):
    """Open the contactor and keep it open, over restarts, until the command is sent with `open` False."""

    id: int
    open: bool
    who: Word
    forced: bool = False


class ReplaceRelay(msgspec.Struct, frozen=True, tag="replace_relay"):
    """Record a new relay of the outlet: its wear counts from zero."""

    id: int
    outlet: int
    who: Word


class SetGains(msgspec.Struct, frozen=True, tag="set_gains"):
    """Calibrate the outlet's current input; the gains are kept and replace those of `cabinet.toml`."""

    id: int
    outlet: int
    gains: Gains
    who: Word


class StartSelfTest(msgspec.Struct, frozen=True, tag="self_test"):
    """Click the relay of `outlet`, or with 0 (`model.CABINET`) every relay, with the contactor open."""

    id: int
    outlet: int
    who: Word
    forced: bool = False


class CycleRelay(msgspec.Struct, frozen=True, tag="cycle_relay"):
    """Close and open `outlet` `times` times, each after the pre-close check, and check if current follows."""

    id: int
    outlet: int
    times: Annotated[int, msgspec.Meta(ge=1, le=MAX_CYCLES)]
    who: Word
    forced: bool = False


class TestAlertLine(msgspec.Struct, frozen=True, tag="test_alert_line"):
    """Lower the alert level of the meter of `outlet`, with a load plugged in, and detect which line moves."""

    __test__ = False  # not a test case of pytest

    id: int
    outlet: int
    who: Word
    forced: bool = False


class TestResidual(msgspec.Struct, frozen=True, tag="test_residual"):
    """Test the residual-current monitor now."""

    __test__ = False

    id: int
    who: Word
    forced: bool = False


class SoundSiren(msgspec.Struct, frozen=True, tag="sound_siren"):
    """Sound the siren for `seconds`; it then returns to the state that the cabinet's faults require."""

    id: int
    seconds: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIREN_S)]
    who: Word


class AskMaintenance(msgspec.Struct, frozen=True, tag="ask_upkeep"):
    """Request one `MaintenanceState` now, then `Done`."""

    id: int


class Acknowledge(msgspec.Struct, frozen=True, tag="acknowledge"):
    """Report that events up to `seq` of `guard_run` are on the service's disk: the guard may drop them. No answer."""

    guard_run: Word
    seq: int


class AskSnapshot(msgspec.Struct, frozen=True, tag="ask"):
    """Request one snapshot now, then `Done`."""

    id: int


class AskBus(msgspec.Struct, frozen=True, tag="ask_bus"):
    """Request one `BusView`, then `Done`. With `scan` the guard begins a search for unexpected chips."""

    id: int
    scan: bool = False


class AskEvents(msgspec.Struct, frozen=True, tag="ask_events"):
    """Request the newest events in one `Recent`, then `Done`; they include those that the service acknowledged."""

    id: int


class ChipView(msgspec.Struct, frozen=True):
    """A chip as last read: register name → its raw value. Empty if it was never read."""

    chip: str
    address: int
    mux: int | None = None
    channel: int | None = None
    raw: dict[str, int] = {}


class SegmentView(msgspec.Struct, frozen=True):
    """One I2C mux channel. `errors` counts failed transfers by errno name or kind of answer."""

    name: str
    mux: int
    channel: int
    up: bool
    errors: dict[str, int]
    last_error: str
    last_error_ns: int
    chips: list[ChipView]
    inputs: dict[str, int]  # input of the meter → outlet
    feed_input: str | None = None


class ScanView(msgspec.Struct, frozen=True):
    """Progress of the search for unexpected chips: `asked` of `places` addresses; `found` answered."""

    asked: int = 0
    places: int = 0
    running: bool = False
    found: list[ChipView] = []
    stopped_by: str = ""  # the error of the bus that ended the search, if any


class BusView(msgspec.Struct, frozen=True, tag="bus"):
    """The sensor side of the bus and the relays' expanders, as last read by the guard's loop; no transfer is made."""

    at_ns: int
    segments: list[SegmentView]
    upstream: list[ChipView]
    expanders_down: list[int]  # addresses of MCP23017 that could not be set up: their outlets refuse to close
    errors: int
    scan: ScanView


class Recent(msgspec.Struct, frozen=True, tag="recent"):
    """The newest events, oldest first."""

    at_ns: int  # now, by the guard's clock
    events: list[Event]


class Done(msgspec.Struct, frozen=True, tag="done"):
    id: int


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """Refusal of a command; `code` is one of `cabinet.model.REFUSALS`."""

    id: int
    code: str
    params: dict[str, int | str] = {}


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    version: int
    guard_run: str
    epoch: str
    outlets: list[int]


TestCommand = StartSelfTest | CycleRelay | TestAlertLine | TestResidual | SoundSiren
StaffCommand = StartTestCharge | TakeOutOfService | SetContactorLockout | ReplaceRelay | SetGains | TestCommand
Question = AskSnapshot | AskBus | AskEvents | AskMaintenance  # answered by the requested data, then Done
Command = Energise | Open | ClearLatch | StaffCommand | Acknowledge | Question
FromClient = Hello | Command
FromGuard = Welcome | Done | Refusal | Snapshot | Event | BusView | Recent | MaintenanceState

STAFF_COMMANDS = get_args(StaffCommand)

ALLOWED: dict[type, frozenset[Role]] = {
    Energise: frozenset({Role.SERVICE}),
    Open: frozenset({Role.SERVICE, Role.CONSOLE}),
    ClearLatch: frozenset({Role.CONSOLE}),
    Acknowledge: frozenset({Role.SERVICE}),
    AskSnapshot: frozenset({Role.SERVICE, Role.CONSOLE, Role.VIEWER}),
    AskBus: frozenset({Role.CONSOLE}),
    AskEvents: frozenset({Role.CONSOLE}),
    AskMaintenance: frozenset({Role.SERVICE, Role.CONSOLE, Role.VIEWER}),
    **dict.fromkeys(STAFF_COMMANDS, frozenset({Role.CONSOLE})),
}

_encoder = msgspec.msgpack.Encoder()
_client_decoder: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_guard_decoder: msgspec.msgpack.Decoder[FromGuard] = msgspec.msgpack.Decoder(FromGuard)
decode_from_client = decoding(_client_decoder.decode, "a message to the guard")
decode_from_guard = decoding(_guard_decoder.decode, "a message of the guard")


def encode(message: FromClient | FromGuard) -> bytes:
    """Encode one frame. Raises LinkError if it would be longer than `MAX_FRAME`."""
    frame = _encoder.encode(message)
    if len(frame) > MAX_FRAME:
        raise LinkError(f"a {type(message).__name__} frame of {len(frame)} bytes is over {MAX_FRAME}")
    return frame
