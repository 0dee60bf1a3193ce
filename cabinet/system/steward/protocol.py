"""Requests to the steward and its answers: one SEQPACKET frame each. Pure.

Each request has one answer, and only CheckUpdates several.
"""

from typing import Annotated

import msgspec

from cabinet.system.frame_codec import decoding
from cabinet.system.update.bundle import Manifest
from cabinet.system.update.survey import Age
from cabinet.system.update.trial import ComputerFacts, UpdateRecord

SOCKET = "steward.sock"
MAX_FRAME = 64 * 1024
EARLIEST_MS, LATEST_MS = 1_735_689_600_000, 4_102_444_800_000  # 2025 to 2100: any other time is a typing error


class SetClock(msgspec.Struct, frozen=True, tag="set_clock"):
    unix_ms: Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]


class ShowNetwork(msgspec.Struct, frozen=True, tag="show_network"):
    pass


class BackUp(msgspec.Struct, frozen=True, tag="back_up"):
    """Copy the newest backup of the database to the removable drive, mounted or not."""


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """Restart guard, service and console to make them read their configuration."""


class Reboot(msgspec.Struct, frozen=True, tag="reboot"):
    """Reboot now, or if `wait` is set, when no charge runs; the client need not stay connected."""

    wait: bool = False


class CancelReboot(msgspec.Struct, frozen=True, tag="call_off"):
    """Cancel a waiting reboot."""


class CheckUpdates(msgspec.Struct, frozen=True, tag="check_updates"):
    """Inspect the installed version and the bundles on the sticks. The answers are findings and InspectionProgress as
    they come, and at last RequestDone or Failed. One inspection at a time: a new one ends the one under way, and so
    does its client by closing the connection, or its sending half; the steward closes its own after the unmount.
    """


class InspectionProgress(msgspec.Struct, frozen=True, tag="looking"):
    """Progress in bytes. `name`: the bundle that is read; empty while the installed files are compared."""

    name: str = ""
    done: int = 0
    size: int = 0


class InstalledVersion(msgspec.Struct, frozen=True, tag="surveyed"):
    """Installed version. `problems`: why `computer` or the trusted keys are unknown. `last` is the update that ended
    last, `trial` the one under way, `left_s` the remaining time of its trial.
    """

    computer: ComputerFacts | None
    trial: UpdateRecord | None
    left_s: int | None
    last: UpdateRecord | None
    problems: list[str]


class DriveFound(msgspec.Struct, frozen=True, tag="stick_seen"):
    """One stick, sent before its bundles. `place` is empty if it is mounted for this inspection only. `more`: bundles
    that are skipped because there are too many; `problem`: why it cannot be read, or not to the end.
    """

    device: str
    place: str
    bundles: int = 0
    more: int = 0
    problem: str = ""


class BundleFound(msgspec.Struct, frozen=True, tag="bundle_seen"):
    """One file on the stick named last. Without a `manifest`, none of its contents is trusted; `wrong` is a code of the
    texts `update.wrong`, `why` the system's message. If both are set, the signature is good and the package is not.
    """

    name: str
    manifest: Manifest | None = None
    signer: str = ""
    age: Age | None = None
    wrong: str = ""
    why: str = ""


class Interface(msgspec.Struct, frozen=True):
    """One network interface; `addresses` with prefix length, such as 192.0.2.7/24."""

    name: str
    up: bool
    mac: str
    addresses: list[str]


class Network(msgspec.Struct, frozen=True, tag="network"):
    interfaces: list[Interface]
    gateways: list[str]
    name_servers: list[str]


class BackupCopied(msgspec.Struct, frozen=True, tag="copied"):
    """Result of a backup: `to` is on the drive, read back and equal. `let_go`: the drive is not mounted any more."""

    to: str
    size: int
    sha256: str
    let_go: bool = False


class RequestDone(msgspec.Struct, frozen=True, tag="done"):
    """Request done. `waiting`: a reboot waits (for CancelReboot: one waited)."""

    waiting: bool = False


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Request failed. `text`: problem, place and remedy in one line. `code`: the console's refusal, if one fits."""

    text: str
    code: str = ""
    params: dict[str, str] = {}


Request = SetClock | ShowNetwork | BackUp | Restart | Reboot | CancelReboot | CheckUpdates
InspectionItem = InspectionProgress | InstalledVersion | DriveFound | BundleFound
Answer = Network | BackupCopied | RequestDone | Failed | InspectionItem

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
decode_request = decoding(_requests.decode, "a request to the steward")
decode_answer = decoding(_answers.decode, "an answer of the steward")


def encode(message: Request | Answer) -> bytes:
    return msgspec.json.encode(message)
