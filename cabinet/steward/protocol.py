"""Requests to the steward and its answers: one SEQPACKET frame each. Pure."""

from typing import Annotated

import msgspec

from cabinet.errors import LinkError

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
    """`to` on the drive; read back and equal."""

    to: str
    size: int
    sha256: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """`waiting`: a reboot waits (for CallOff: one waited)."""

    waiting: bool = False


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """One line: what, where, what to do."""

    text: str


Request = SetClock | ShowNetwork | BackUp | Restart | Reboot | CallOff
Answer = Network | Copied | Done | Failed

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
