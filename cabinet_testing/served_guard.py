"""The guard's socket without a guard: the real server in a thread, answering from values."""

import select
import threading
from pathlib import Path
from typing import Any

from cabinet.clock import ManualClock
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import (
    BusView,
    ChipView,
    Done,
    Refusal,
    ScanView,
    SegmentView,
    Welcome,
)
from cabinet.link.peer_roles import PeerRoles
from cabinet.link.server import EventLog, LinkServer
from cabinet.model import (
    ABSENT,
    GuardHealth,
    Snapshot,
)

WITHIN_S = 30  # only keeps a broken build from hanging


HEALTH = GuardHealth(True, 1, 0, 0, 2000, 0, 0)


SNAPSHOT = Snapshot("run1", "epoch1", 5, [], True, ABSENT, ABSENT, ABSENT, 0, 0, HEALTH, 7_000_000)


CHIP = ChipView("ADE7953", 0x38, 0x70, 2, {"VRMS": 4_000_000, "AWATT": -12})


BUS = BusView(
    5, [SegmentView("segment 0x70/2", 0x70, 2, True, {"EREMOTEIO": 2}, "", 0, [CHIP], {"A": 5})], [], [], 2, ScanView()
)


class ServedGuard:
    """The server in a thread of its own; it answers like a guard with a busy outlet 9."""

    def __init__(self, folder: Path, peer_roles: PeerRoles | None = None) -> None:
        self.path = folder / "guard.sock"
        self.events = EventLog("run1")
        self.handled: list[object] = []
        self.clock = ManualClock()
        self.peer_roles = peer_roles or PeerRoles.of_this_machine()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.server = LinkServer(
            self.path,
            Welcome(guard_protocol.VERSION, "run1", "epoch1", [1]),
            self.events,
            self._handle,
            lambda: SNAPSHOT,
            self._bus,
            self.clock,
            peer_roles=self.peer_roles,
        )
        self.scans = 0
        self._thread.start()

    def _bus(self, scan: bool) -> BusView:
        self.scans += scan
        return BUS

    def _handle(self, command: Any) -> Done | Refusal:
        self.handled.append(command)
        if command.outlet == 9:
            return Refusal(command.id, "outlet_busy", {"outlet": 9})
        return Done(command.id)

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select(self.server.descriptors, [], [], 0.01)
            self.server.serve(ready)
            self.server.push_events()
            self.server.publish(SNAPSHOT)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.server.close()
