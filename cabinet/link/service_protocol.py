"""Protocol of `service.sock`: the console reads sessions, usage and energy, and stores its audit log. Pure.

A connection carries one question and one answer, each one line of JSON. The console never depends on the answer: if the
service is dead it reports that, and keeps its audit log in a file until a service runs again.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from cabinet.clock import WallTime
from cabinet.model import EndReason, Fault
from cabinet.system import run_folder
from cabinet.system.frame_codec import decoding

SOCKET = "service.sock"
MAX_LINE = 1024 * 1024
MAX_LINES = 100  # of sessions, usage or audit in one answer
MAX_ENTRIES = 500  # of the console's audit log in one question

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES)]
Word = Annotated[str, msgspec.Meta(max_length=64)]


class ConsoleAuditEntry(msgspec.Struct, frozen=True):
    """One row of the console's audit log. `journal` and `seq` (from 1 in it) identify it for ever: it is kept once."""

    journal: Word
    seq: int
    at: WallTime
    account: Word
    level: Word
    line: Annotated[str, msgspec.Meta(max_length=200)]  # as typed; never a PIN
    outcome: Annotated[str, msgspec.Meta(max_length=200)]  # ok, or the code of its refusal


class AskSessions(msgspec.Struct, frozen=True, tag="sessions"):
    most: Count = 20


class AskUsage(msgspec.Struct, frozen=True, tag="usage"):
    most: Count = 20


class AskEnergy(msgspec.Struct, frozen=True, tag="energy"):
    pass


class AskAudit(msgspec.Struct, frozen=True, tag="audit"):
    most: Count = 20


class AskUplink(msgspec.Struct, frozen=True, tag="uplink"):
    pass


class EnrolUplink(msgspec.Struct, frozen=True, tag="enrol"):
    """Hand a code of the fleet's to the uplink, which enrols this cabinet with it."""

    code: Annotated[str, msgspec.Meta(min_length=8, max_length=64)]


class StoreAudit(msgspec.Struct, frozen=True, tag="keep"):
    """Store these in the store's audit log; entries that are there already stay unchanged."""

    entries: Annotated[list[ConsoleAuditEntry], msgspec.Meta(max_length=MAX_ENTRIES)]


class SessionLine(msgspec.Struct, frozen=True):
    """A charge; money in fen, no data about its owner."""

    order_number: str
    outlet: int
    state: str
    started: WallTime
    ended: WallTime | None
    charging_s: int
    energy_mwh: int
    cost_fen: int
    end_reason: EndReason | None
    fault: Fault | None


class Sessions(msgspec.Struct, frozen=True, tag="sessions"):
    """Running sessions, oldest first; then the newest finished ones."""

    running: list[SessionLine]
    over: list[SessionLine]


class UsageLine(msgspec.Struct, frozen=True):
    number: int
    order_number: str
    outlet: int
    card: str  # masked
    ended: WallTime
    charging_s: int
    energy_mwh: int
    total_fen: int
    end_reason: EndReason
    fault: Fault | None
    record_hash: str


class Usage(msgspec.Struct, frozen=True, tag="usage"):
    """Usage records, newest last."""

    lines: list[UsageLine]


class DayEnergy(msgspec.Struct, frozen=True):
    day: str  # for example 2026-11-25, by the site's clock
    energy_mwh: dict[int, int]  # by outlet


class Energy(msgspec.Struct, frozen=True, tag="energy"):
    """Energy of the last days, newest first; days without any energy are left out."""

    days: list[DayEnergy]


class AuditLine(msgspec.Struct, frozen=True):
    number: int
    at: WallTime
    who: str
    role: str
    address: str  # "console", or the address of a page's visitor
    action: str
    subject: str
    detail: str


class AuditAnswer(msgspec.Struct, frozen=True, tag="audit"):
    """Audit entries, newest last."""

    lines: list[AuditLine]


class UplinkView(msgspec.Struct, frozen=True, tag="uplink"):
    """The outbox and what the fleet wants in force: versions by kind, and the reasons of those that were rejected.

    `unkept_s`: age of the oldest fact that the fleet has not acknowledged; 0 if there is none.
    """

    epoch: str
    facts: int
    acked: int
    unkept_s: int
    versions: dict[str, int]
    rejected: dict[str, str]


class Handed(msgspec.Struct, frozen=True, tag="handed"):
    """Answer that the uplink will get the code."""


class Stored(msgspec.Struct, frozen=True, tag="kept"):
    """Answer that all entries are in the store, added now or before."""


class QueryRefusal(msgspec.Struct, frozen=True, tag="unable"):
    """Refusal; `code` is one of `cabinet.model.REFUSALS`."""

    code: str


Query = AskSessions | AskUsage | AskEnergy | AskAudit | StoreAudit | AskUplink | EnrolUplink
Answer = Sessions | Usage | Energy | AuditAnswer | Stored | UplinkView | Handed | QueryRefusal

_encoder = msgspec.json.Encoder()
_query_decoder: msgspec.json.Decoder[Query] = msgspec.json.Decoder(Query)
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
decode_query = decoding(_query_decoder.decode, "a question to the service")
decode_answer = decoding(_answer_decoder.decode, "an answer of the service")


def path_in(run: Path) -> Path:
    return run_folder.service_folder(run) / SOCKET


def encode(message: Query | Answer) -> bytes:
    """Encode one line, its end included."""
    return _encoder.encode(message) + b"\n"
