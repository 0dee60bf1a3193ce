"""What is said over `guard.sock`: frames, commands, and who may send which. Pure: no sockets here.

A frame is one SEQPACKET datagram holding one msgpack-encoded message of the unions below. The client speaks first
with `Hello`; the guard answers every command with `Done` or `Refusal` of the same `id`. Commands are idempotent: the
same command sent twice, with the same or another `id`, leaves the same state and gets the same kind of answer.
"""

import enum
from typing import Annotated, get_args

import msgspec

from cabinet.errors import LinkError
from cabinet.model import ChargeLimits, EndReason, Event, NotNegative, Snapshot
from cabinet.upkeep import LONGEST_NOTE, Gains, Upkeep

VERSION = 3
LONGEST_FRAME = 128 * 1024  # bytes; a snapshot of 40 outlets with the longest words is under half of it
LONGEST_COMMAND = 4096  # bytes; the longest true one is under 500

# Everything a client says ends up in events and snapshots: bounded here, those are bounded too.
Word = Annotated[str, msgspec.Meta(max_length=64)]
Note = Annotated[str, msgspec.Meta(max_length=LONGEST_NOTE)]
LONGEST_TRIAL_S = 600
MOST_CYCLES = 20
LONGEST_SIREN_S = 10


class Role(enum.Enum):
    """Who a client is to the guard."""

    SERVICE = "service"  # the only one to acknowledge events
    CONSOLE = "console"
    VIEWER = "viewer"  # reads only


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First frame of a client. With `snapshots` the guard publishes to it.

    Role SERVICE, and no other, gets events: all not yet acknowledged, again on every connection, oldest first.
    """

    role: Role
    version: int = VERSION
    snapshots: bool = True


class Energise(msgspec.Struct, frozen=True, tag="energise"):
    """Close `outlet` for `session_id` after the pre-close check, until a limit, an end or a trip.

    Sent again for the session already there it only replaces the limits. `used` is what an interrupted session used
    before: it counts against the limits, and a session that had load does not wait for it again.
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

    Done also where the outlet is open already, or holds another session (then nothing is touched).
    """

    id: int
    outlet: int
    reason: EndReason
    session_id: Word | None = None
    who: Word = ""


class ClearLatch(msgspec.Struct, frozen=True, tag="clear_latch"):
    """Staff have seen to the cause: the outlet may be used again once the pre-close check passes.

    `outlet` 0 (`model.CABINET`) clears what stands against the whole cabinet, and silences its siren.
    """

    id: int
    outlet: int
    who: Word


class Try(msgspec.Struct, frozen=True, tag="try"):
    """Close `outlet` for a test, after the pre-close check, for `seconds`: then the guard opens it by itself.

    What resident's charge there is ends first where `forced`; else that is refused. Sent again it counts anew.
    """

    id: int
    outlet: int
    seconds: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_TRIAL_S)]
    who: Word
    forced: bool = False


class Lock(msgspec.Struct, frozen=True, tag="lock"):
    """Take `outlet` out of service with a note that residents see; with `note` None put it back into service.

    Kept over restarts. Staff may still close a locked outlet for a test.
    """

    id: int
    outlet: int
    note: Note | None
    who: Word
    forced: bool = False


class HoldContactor(msgspec.Struct, frozen=True, tag="hold_contactor"):
    """Open the contactor and keep it open, over restarts, until it is asked for again with `open` False."""

    id: int
    open: bool
    who: Word
    forced: bool = False


class ReplaceRelay(msgspec.Struct, frozen=True, tag="replace_relay"):
    """The outlet has a new relay: its wear counts from zero."""

    id: int
    outlet: int
    who: Word


class SetGains(msgspec.Struct, frozen=True, tag="set_gains"):
    """Calibrate the outlet's current input; kept in place of what `cabinet.toml` says."""

    id: int
    outlet: int
    gains: Gains
    who: Word


class SelfTest(msgspec.Struct, frozen=True, tag="self_test"):
    """Click the relay of `outlet`, or with 0 (`model.CABINET`) every relay, with the contactor open."""

    id: int
    outlet: int
    who: Word
    forced: bool = False


class CycleRelay(msgspec.Struct, frozen=True, tag="cycle_relay"):
    """Close and open `outlet` so many times, each after the pre-close check, and see whether current follows."""

    id: int
    outlet: int
    times: Annotated[int, msgspec.Meta(ge=1, le=MOST_CYCLES)]
    who: Word
    forced: bool = False


class TestAlertLine(msgspec.Struct, frozen=True, tag="test_alert_line"):
    """With a load plugged into `outlet`: lower its meter's alert level under the load for a moment, see which line
    moves."""

    __test__ = False  # no case of pytest's

    id: int
    outlet: int
    who: Word
    forced: bool = False


class TestResidual(msgspec.Struct, frozen=True, tag="test_residual"):
    """Have the residual-current monitor tested now."""

    __test__ = False

    id: int
    who: Word
    forced: bool = False


class SoundSiren(msgspec.Struct, frozen=True, tag="sound_siren"):
    """Sound the siren for `seconds`; then it is as the cabinet's faults want it."""

    id: int
    seconds: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SIREN_S)]
    who: Word


class AskUpkeep(msgspec.Struct, frozen=True, tag="ask_upkeep"):
    """One `Upkeep` now, then `Done`."""

    id: int


class Acknowledge(msgspec.Struct, frozen=True, tag="acknowledge"):
    """Events up to `seq` of `guard_run` are on the service's disk; the guard may forget them. No answer."""

    guard_run: Word
    seq: int


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """One snapshot now, then `Done`."""

    id: int


class AskBus(msgspec.Struct, frozen=True, tag="ask_bus"):
    """One `BusView`, then `Done`. With `scan` the guard begins to look for chips that nobody expects."""

    id: int
    scan: bool = False


class AskEvents(msgspec.Struct, frozen=True, tag="ask_events"):
    """The newest of the guard's events in one `Recent`, then `Done`; also those that the service has acknowledged."""

    id: int


class ChipView(msgspec.Struct, frozen=True):
    """A chip as last read: register name → what it held, unscaled. Empty where it was never read."""

    chip: str
    address: int
    mux: int | None = None
    channel: int | None = None
    raw: dict[str, int] = {}


class SegmentView(msgspec.Struct, frozen=True):
    """What hangs behind one channel of a mux. `errors` counts failed transfers by errno name or kind of answer."""

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
    """How far the search for unexpected chips has come: `asked` of `places` addresses; `found` answered."""

    asked: int = 0
    places: int = 0
    running: bool = False
    found: list[ChipView] = []
    stopped_by: str = ""  # an error of the bus, where that ended it


class BusView(msgspec.Struct, frozen=True, tag="bus"):
    """The sensor side of the bus and the relays' expanders, as the guard's loop last saw them; no transfer is made."""

    at_ns: int
    segments: list[SegmentView]
    upstream: list[ChipView]
    expanders_down: list[int]  # addresses of MCP23017 that could not be set up: their outlets refuse to close
    errors: int
    scan: ScanView


class Recent(msgspec.Struct, frozen=True, tag="recent"):
    """Oldest first."""

    at_ns: int  # now, by the guard's clock
    events: list[Event]


class Done(msgspec.Struct, frozen=True, tag="done"):
    id: int


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """`code` is one of `cabinet.model.REFUSALS`."""

    id: int
    code: str
    params: dict[str, int | str] = {}


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    version: int
    guard_run: str
    epoch: str
    outlets: list[int]


JobCommand = SelfTest | CycleRelay | TestAlertLine | TestResidual | SoundSiren
StaffCommand = Try | Lock | HoldContactor | ReplaceRelay | SetGains | JobCommand
Question = Ask | AskBus | AskEvents | AskUpkeep  # answered by what is asked for, then Done
Command = Energise | Open | ClearLatch | StaffCommand | Acknowledge | Question
FromClient = Hello | Command
FromGuard = Welcome | Done | Refusal | Snapshot | Event | BusView | Recent | Upkeep

STAFF_COMMANDS = get_args(StaffCommand)

ALLOWED: dict[type, frozenset[Role]] = {
    Energise: frozenset({Role.SERVICE}),
    Open: frozenset({Role.SERVICE, Role.CONSOLE}),
    ClearLatch: frozenset({Role.CONSOLE}),
    Acknowledge: frozenset({Role.SERVICE}),
    Ask: frozenset({Role.SERVICE, Role.CONSOLE, Role.VIEWER}),
    AskBus: frozenset({Role.CONSOLE}),
    AskEvents: frozenset({Role.CONSOLE}),
    AskUpkeep: frozenset({Role.SERVICE, Role.CONSOLE, Role.VIEWER}),
    **dict.fromkeys(STAFF_COMMANDS, frozenset({Role.CONSOLE})),
}

# ValueError: text that is not UTF-8; RecursionError: lists in lists in lists
_NOT_A_MESSAGE = (msgspec.MsgspecError, ValueError, RecursionError)

_encoder = msgspec.msgpack.Encoder()
_client_decoder: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_guard_decoder: msgspec.msgpack.Decoder[FromGuard] = msgspec.msgpack.Decoder(FromGuard)


def encode(message: FromClient | FromGuard) -> bytes:
    """One frame. Raises LinkError where it would be longer than `LONGEST_FRAME`."""
    frame = _encoder.encode(message)
    if len(frame) > LONGEST_FRAME:
        raise LinkError(f"a {type(message).__name__} frame of {len(frame)} bytes is over {LONGEST_FRAME}")
    return frame


def decode_from_client(frame: bytes) -> FromClient:
    """Raises LinkError for anything that is not a client's message."""
    try:
        return _client_decoder.decode(frame)
    except _NOT_A_MESSAGE as error:
        raise LinkError(f"not a message to the guard: {error}") from error


def decode_from_guard(frame: bytes) -> FromGuard:
    """Raises LinkError for anything that is not the guard's message."""
    try:
        return _guard_decoder.decode(frame)
    except _NOT_A_MESSAGE as error:
        raise LinkError(f"not a message of the guard: {error}") from error
