"""Requests to a running simulator over `sim-control.sock`: one JSON object per datagram in each direction."""

import socket
from pathlib import Path
from typing import Any

import msgspec

from cabinet.errors import CabinetError, SimError
from cabinet.sim.catalogue import make_load
from cabinet.sim.world import World

MAX_RECORDS = 400  # in one answer
MAX_FRAME_BYTES = 200 * 1024


class Plug(msgspec.Struct, frozen=True, tag="plug", forbid_unknown_fields=True):
    outlet: int
    load: str
    charge: float | None = None
    speed: float = 1.0


class Unplug(msgspec.Struct, frozen=True, tag="unplug", forbid_unknown_fields=True):
    outlet: int


class SetFault(msgspec.Struct, frozen=True, tag="fault", forbid_unknown_fields=True):
    kind: str
    outlet: int | None = None
    params: dict[str, float | str] = {}


class Clear(msgspec.Struct, frozen=True, tag="clear", forbid_unknown_fields=True):
    outlet: int | None = None


class SetMains(msgspec.Struct, frozen=True, tag="mains", forbid_unknown_fields=True):
    volts: float | None = None
    frequency_hz: float | None = None


class GetState(msgspec.Struct, frozen=True, tag="state", forbid_unknown_fields=True):
    pass


class GetTruth(msgspec.Struct, frozen=True, tag="truth", forbid_unknown_fields=True):
    """One outlet of the state: the fast request for frequent polling."""

    outlet: int


class GetJournal(msgspec.Struct, frozen=True, tag="journal", forbid_unknown_fields=True):
    """Records after `after`, oldest first, at most 400; of one outlet if given."""

    after: int = 0
    outlet: int | None = None


Request = Plug | Unplug | SetFault | Clear | SetMains | GetState | GetTruth | GetJournal

_decoder = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


def answer(world: World, frame: bytes) -> bytes:
    """Execute a request. Return the reply, which holds `result`, or `error` in one line."""
    try:
        return _encoder.encode({"result": _do(world, _decoder.decode(frame))})
    except msgspec.MsgspecError as error:
        return _encoder.encode({"error": f"not a request: {error}"})
    except CabinetError as error:
        return _encoder.encode({"error": str(error)})


def _do(world: World, request: Request) -> Any:
    match request:
        case Plug():
            world.outlet(request.outlet)
            world.plug(request.outlet, make_load(request.load, request.charge, request.speed))
        case Unplug():
            return {"load": world.unplug(request.outlet).name}
        case SetFault():
            world.fault(request.outlet, request.kind, **request.params)
        case Clear():
            world.clear(request.outlet)
        case SetMains():
            if not 0 <= (request.volts or 0) <= 400 or not 40 <= (request.frequency_hz or 50) <= 70:
                raise SimError("mains: 0 to 400 volts, 40 to 70 hertz")
            world.set_mains(request.volts, request.frequency_hz)
        case GetState():
            return world.state()
        case GetTruth():
            return world.truth(request.outlet)
        case GetJournal():
            world.sync()
            return world.journal.after(request.after, request.outlet)[:MAX_RECORDS]
    return {"at_ns": world.timeline.now_ns, "journal_seq": world.journal.last_seq}


class SimControl:
    """Client of a running simulator, for the command line, tests and benches.

    Raises SimError if the simulator refuses a request or does not run.
    """

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._connection.settimeout(timeout_s)
        try:
            self._connection.connect(str(path))
        except OSError as error:
            self._connection.close()
            raise SimError(f"no simulator at {path} ({error.strerror}); start it with: cabinet sim serve") from error

    def __enter__(self) -> "SimControl":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def request(self, request: Request) -> Any:
        try:
            self._connection.send(_encoder.encode(request))
            frame = self._connection.recv(MAX_FRAME_BYTES)
        except OSError as error:
            raise SimError(f"the simulator does not answer: {error}") from error
        if not frame:
            raise SimError("the simulator is gone")
        reply = msgspec.json.decode(frame)
        if "error" in reply:
            raise SimError(reply["error"])
        return reply["result"]

    def plug(self, outlet: int, load: str, charge: float | None = None, speed: float = 1.0) -> Any:
        return self.request(Plug(outlet, load, charge, speed))

    def unplug(self, outlet: int) -> Any:
        return self.request(Unplug(outlet))

    def fault(self, outlet: int | None, kind: str, **params: float | str) -> Any:
        return self.request(SetFault(kind, outlet, params))

    def clear(self, outlet: int | None = None) -> Any:
        return self.request(Clear(outlet))

    def mains(self, volts: float | None = None, frequency_hz: float | None = None) -> Any:
        return self.request(SetMains(volts, frequency_hz))

    def state(self) -> dict[str, Any]:
        """Return `World.state` without the journal."""
        state: dict[str, Any] = self.request(GetState())
        return state

    def truth(self, outlet: int) -> dict[str, Any]:
        """Return one outlet of `state`."""
        truth: dict[str, Any] = self.request(GetTruth(outlet))
        return truth

    def journal(self, after: int = 0, outlet: int | None = None) -> list[dict[str, Any]]:
        """Return every kept record after sequence number `after`, of one outlet if given."""
        records: list[dict[str, Any]] = []
        while True:
            more = self.request(GetJournal(after, outlet))
            records += more
            if len(more) < MAX_RECORDS:
                return records
            after = more[-1]["seq"]
