"""Requests to the steward and its answers: one SEQPACKET frame each. Pure."""

from typing import Annotated, Literal

import msgspec

from cabinet.errors import LinkError
from cabinet.update.bundle import Manifest
from cabinet.update.survey import Age
from cabinet.update.trial import Computer, Trial

SOCKET = "steward.sock"
LONGEST_FRAME = 64 * 1024
EARLIEST_MS, LATEST_MS = 1_735_689_600_000, 4_102_444_800_000  # 2025 to 2100: anything else is a slip


class SetClock(msgspec.Struct, frozen=True, tag="set_clock"):
    unix_ms: Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]


class ShowNetwork(msgspec.Struct, frozen=True, tag="show_network"):
    pass


class BackUp(msgspec.Struct, frozen=True, tag="back_up"):
    """Copy the newest backup of the database to the removable drive that is mounted."""


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """Guard, service and console, so that they read their configuration."""


class Reboot(msgspec.Struct, frozen=True, tag="reboot"):
    """Now, or once nobody charges; whoever asked need not stay for it."""

    wait: bool = False


class CallOff(msgspec.Struct, frozen=True, tag="call_off"):
    """A reboot that still waits does not come."""


class CheckUpdates(msgspec.Struct, frozen=True, tag="check_updates"):
    """Look what runs here, and at the bundles on the sticks: a little of it with each request, one at a time.

    `begin` ends a look under way; `next` goes on; `leave` ends it. Each is answered with what was found, or with
    Looking; with Done when there is nothing more.
    """

    step: Literal["begin", "next", "leave"]


class Looking(msgspec.Struct, frozen=True, tag="looking"):
    """How far it is. `name`: of the bundle that is read, empty while the installed files are compared; bytes."""

    name: str = ""
    done: int = 0
    size: int = 0


class Surveyed(msgspec.Struct, frozen=True, tag="surveyed"):
    """What runs here. `problem` says why `computer`, or who is trusted, is not known. `last` is the update that ended
    last, `trial` the one under way, with what is left of its trial.
    """

    computer: Computer | None
    trial: Trial | None
    left_s: int | None
    last: Trial | None
    problems: list[str]


class StickSeen(msgspec.Struct, frozen=True, tag="stick_seen"):
    """A stick, before its bundles. `place` is empty where it is mounted for this look only. `more`: bundles that are
    not looked at, because there are too many; `problem`: why it cannot be read, or not to the end.
    """

    device: str
    place: str
    bundles: int = 0
    more: int = 0
    problem: str = ""


class BundleSeen(msgspec.Struct, frozen=True, tag="bundle_seen"):
    """A file on the stick that was named last. Without a `manifest` nothing in it is believed; `wrong` is a code of the
    texts `update.wrong`, `why` what the system said. With both, the signature is good and the package is not.
    """

    name: str
    manifest: Manifest | None = None
    signer: str = ""
    age: Age | None = None
    wrong: str = ""
    why: str = ""


class Interface(msgspec.Struct, frozen=True):
    """`addresses` with the length of their prefix, such as 192.0.2.7/24."""

    name: str
    up: bool
    mac: str
    addresses: list[str]


class Network(msgspec.Struct, frozen=True, tag="network"):
    interfaces: list[Interface]
    gateways: list[str]
    name_servers: list[str]


class Copied(msgspec.Struct, frozen=True, tag="copied"):
    """`to` on the drive; read back and equal. `let_go`: the drive is not mounted any more."""

    to: str
    size: int
    sha256: str
    let_go: bool = False


class Done(msgspec.Struct, frozen=True, tag="done"):
    """`waiting`: a reboot waits (for CallOff: one waited)."""

    waiting: bool = False


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """`text`: what, where, what to do, in one line. `code`: of the console's refusals, where it has words for it."""

    text: str
    code: str = ""
    params: dict[str, str] = {}


Request = SetClock | ShowNetwork | BackUp | Restart | Reboot | CallOff | CheckUpdates
Found = Looking | Surveyed | StickSeen | BundleSeen
Answer = Network | Copied | Done | Failed | Found

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_NOT_A_MESSAGE = (msgspec.MsgspecError, ValueError, RecursionError)


def encode(message: Request | Answer) -> bytes:
    return msgspec.json.encode(message)


def decode_request(frame: bytes) -> Request:
    """Raises LinkError for anything else."""
    try:
        return _requests.decode(frame)
    except _NOT_A_MESSAGE as error:
        raise LinkError(f"not a request to the steward: {error}") from error


def decode_answer(frame: bytes) -> Answer:
    """Raises LinkError for anything else."""
    try:
        return _answers.decode(frame)
    except _NOT_A_MESSAGE as error:
        raise LinkError(f"not an answer of the steward: {error}") from error
