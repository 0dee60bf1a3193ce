"""Protocol of `uplink.sock`: the uplink process fetches what goes up, and hands over what came down. Pure.

Newline JSON. A connection carries any number of questions, one at a time, each answered by one line; a start is
answered once the guard has closed the outlet, so it has a connection of its own (`MAX_CONNECTIONS`). `WatchChanges`
turns its connection round: from then on the service sends a `Changed` at once, and whenever something changed, at most
two a second.

Messages of the fleet pass as they are: `online`, `state`, `answer` and the facts are bodies of
`cabinet.uplink.messages` that the uplink publishes without decoding them, and a signed message is handed over as it was
received. The service alone verifies it, with the keys that the uplink stored at the enrolment (`keys_file`); it has
neither certificate nor private key of the connection.
"""

import base64
import binascii
import contextlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from cabinet.errors import LinkError
from cabinet.system import run_folder
from cabinet.system.atomic_file import write_file
from cabinet.system.frame_codec import decoding

SOCKET = "uplink.sock"
USER = "cabinet-uplink"
MAX_LINE = 256 * 1024  # bytes; a signed message of 64 KiB in base64, or fifty facts
MAX_CONNECTIONS = 12  # at once; a start waits in one of them for the guard
MAX_FACTS = 50  # in one answer
CHANGED_EVERY_S = 0.5

# Codes of `HandedOver` beside those of `cabinet.model.REFUSALS`
UNTRUSTED = "untrusted"  # no key that is trusted here signed it for this cabinet
RETAINED = "retained"  # a stored message on a topic of commands
UNKNOWN_MESSAGE = "unknown_message"  # signed, but of an unknown kind or schema
STALE = "stale"  # of another time: it quotes none of the last challenges

Word = Annotated[str, msgspec.Meta(max_length=64)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

# --- questions -------------------------------------------------------------------------------------------------------


class AskOnline(msgspec.Struct, frozen=True, tag="online"):
    """Ask for the body of `up/online` (`messages.Online`)."""


class AskState(msgspec.Struct, frozen=True, tag="state"):
    """Ask for the body of `up/state` (`messages.StateReport`) with a fresh challenge.

    `signal_dbm`: of the 4G modem, which the uplink may know; the service puts it in.
    """

    signal_dbm: int | None = None


class AskFacts(msgspec.Struct, frozen=True, tag="facts"):
    """Ask for the facts after number `after`, in order."""

    after: Number
    most: Annotated[int, msgspec.Meta(ge=1, le=MAX_FACTS)] = MAX_FACTS


class HandOver(msgspec.Struct, frozen=True, tag="signed"):
    """Hand over a signed message of any topic below `down/`, as received. `retained`: it was stored by the broker."""

    payload: Annotated[str, msgspec.Meta(max_length=MAX_LINE // 2)]  # base64
    retained: bool = False


class TakeEnrolment(msgspec.Struct, frozen=True, tag="enrolment"):
    """Take the code that a member of staff typed at the console; the service then forgets it."""


class WatchChanges(msgspec.Struct, frozen=True, tag="watch"):
    """Send a `Changed` now and with each change, until the connection is closed."""


# --- answers ---------------------------------------------------------------------------------------------------------


class OnlineBody(msgspec.Struct, frozen=True, tag="online"):
    """`epoch` and `boot` are those within `body`."""

    epoch: str
    boot: str
    body: msgspec.Raw


class StateBody(msgspec.Struct, frozen=True, tag="state"):
    body: msgspec.Raw


class FactRow(msgspec.Struct, frozen=True):
    """`body` is one of `messages.FactBody`, encoded."""

    number: int
    body: msgspec.Raw


class FactRows(msgspec.Struct, frozen=True, tag="facts"):
    """Facts in order, gapless after the number asked for; empty if there are none.

    A question for numbers that are acknowledged and deleted is answered from the oldest one left.
    """

    epoch: str
    facts: list[FactRow]


class HandedOver(msgspec.Struct, frozen=True, tag="signed"):
    """Result of a signed message.

    `answer`: the body of `up/answer` to publish (`messages.Answer`, as JSON text), for a start, a stop or a question;
    else empty. `refusal`: the code if the message itself was refused; nothing is published then. `look_s`: a person
    views this cabinet for so many seconds.
    """

    answer: str = ""
    refusal: str | None = None
    look_s: int | None = None


class Enrolment(msgspec.Struct, frozen=True, tag="enrolment"):
    """`code` is empty if none waits."""

    code: str


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """`state` is a counter that grows with each change worth sending; `facts` and `acked` are the outbox's numbers.

    `enrol`: a code waits for `TakeEnrolment`.
    """

    epoch: str
    state: int
    facts: int
    acked: int
    enrol: bool = False


class UplinkRefusal(msgspec.Struct, frozen=True, tag="unable"):
    """The question was not answered: not_allowed, bad_request, uplink_off or storage_full."""

    code: str


UplinkQuestion = AskOnline | AskState | AskFacts | HandOver | TakeEnrolment | WatchChanges
UplinkReply = OnlineBody | StateBody | FactRows | HandedOver | Enrolment | Changed | UplinkRefusal

_encoder = msgspec.json.Encoder()
_question_decoder: msgspec.json.Decoder[UplinkQuestion] = msgspec.json.Decoder(UplinkQuestion)
_reply_decoder: msgspec.json.Decoder[UplinkReply] = msgspec.json.Decoder(UplinkReply)
decode_question = decoding(_question_decoder.decode, "a question of the uplink")
decode_reply = decoding(_reply_decoder.decode, "a reply to the uplink")


def path_in(run: Path) -> Path:
    """Return the socket, in the service's folder of the run folder."""
    return run_folder.service_folder(run) / SOCKET


def encode(message: UplinkQuestion | UplinkReply) -> bytes:
    """Encode one line, its end included."""
    return _encoder.encode(message) + b"\n"


def hand_over(payload: bytes, retained: bool = False) -> HandOver:
    """Return the question for a signed message as received."""
    return HandOver(base64.b64encode(payload).decode(), retained)


def payload_of(message: HandOver) -> bytes:
    """Return the signed message as received. Raises LinkError."""
    try:
        return base64.b64decode(message.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LinkError(f"a signed message that is not base64: {error}") from error


# --- files of the uplink, which the service and the console read ------------------------------------------------------


class TrustedKey(msgspec.Struct, frozen=True):
    """A public key of the fleet's orders, and its name (`orders.key_id`)."""

    key_id: Annotated[str, msgspec.Meta(min_length=8, max_length=8)]
    public: Annotated[str, msgspec.Meta(max_length=64)]  # Ed25519, base64


class FleetKeys(msgspec.Struct, frozen=True):
    """`<state>/uplink/fleet-keys.json`: the cabinet's name at the fleet, and the keys that may sign for it.

    The uplink writes it (atomically) at each enrolment; the service reads it when it changed.
    """

    cabinet: Annotated[str, msgspec.Meta(max_length=32)]
    keys: Annotated[list[TrustedKey], msgspec.Meta(min_length=1, max_length=2)]


LinkState = Literal["not_enrolled", "enrolling", "connecting", "connected", "refused"]
STATUS_MISSED = 3  # status reports of the uplink that may be missing before it counts as dead


class UplinkStatus(msgspec.Struct, frozen=True):
    """`<run>/uplink/status.json`: the state of the connection, for the console and the service.

    Times are nanoseconds of the monotonic clock, which all processes of one boot share. The uplink writes it with every
    change and each `every_s` seconds. `refused`: the broker or the fleet refuses this cabinet; `error` gives the
    reason.
    """

    at_ns: int
    every_s: float
    state: LinkState
    since_ns: int
    error: Annotated[str, msgspec.Meta(max_length=200)] = ""
    cabinet: str = ""
    host: str = ""
    certificate_until_unix_ms: int | None = None


def uplink_folder(state: Path) -> Path:
    """Return the folder of the enrolment: the uplink's own; the group may read it."""
    return state / "uplink"


def keys_file(state: Path) -> Path:
    return uplink_folder(state) / "fleet-keys.json"


def status_file(run: Path) -> Path:
    return run / "uplink" / "status.json"


def read_keys(path: Path) -> FleetKeys | None:
    """Return the keys; None if this cabinet is not enrolled. Raises LinkError for a damaged file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=FleetKeys)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise LinkError(f"{path}: {error}") from error


def write_keys(path: Path, keys: FleetKeys) -> None:
    """Write the file atomically and synced. Raises OSError."""
    write_file(path, msgspec.json.encode(keys))


def write_status(path: Path, status: UplinkStatus) -> None:
    """Write the file atomically, in memory. Never raises: nothing depends on it."""
    with contextlib.suppress(OSError):
        write_file(path, msgspec.json.encode(status), synced=False)


def read_status(path: Path, now_ns: int) -> UplinkStatus | None:
    """Return the uplink's last report; None if there is none or it is too old, which means it does not run."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=UplinkStatus)
    except (OSError, msgspec.MsgspecError):
        return None
    return status if 0 <= now_ns - status.at_ns <= STATUS_MISSED * status.every_s * 1e9 else None
