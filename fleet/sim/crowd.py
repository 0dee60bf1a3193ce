"""Many simulated cabinets in one process, at the load of an evening; run as a process of its own by benches.

Control over a pipe: each request is a tuple, each answer a dict.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection as Pipe
from typing import Any

from nacl.signing import VerifyKey

from fleet.sim.cabinets import RESEND_S, ConnectedCabinet, SimulatedCabinet

CONNECTS_AT_ONCE = 100


class Crowd:
    def __init__(self, names: list[str], keys: Mapping[str, VerifyKey], host: str, port: int) -> None:
        self.cabinets = [ConnectedCabinet(name, keys, host, port) for name in names]
        self._lag: dict[tuple[str, int], float] = {}
        self.lags_s: list[float] = []
        self.sent = 0
        self._load: asyncio.Task[None] | None = None
        for cabinet in self.cabinets:
            cabinet.sim.versions = {"tariffs": 1}
            cabinet.max_backoff_s = 120.0

    @property
    def connected(self) -> int:
        return sum(cabinet.connected.is_set() for cabinet in self.cabinets)

    @property
    def unacked(self) -> int:
        return sum(cabinet.sim.number - cabinet.sim.acked for cabinet in self.cabinets)

    async def start(self) -> None:
        """Connect all, a hundred at a time, and keep them connected."""
        self._tasks = []
        for begin in range(0, len(self.cabinets), CONNECTS_AT_ONCE):
            group = self.cabinets[begin : begin + CONNECTS_AT_ONCE]
            self._tasks += [asyncio.create_task(cabinet.keep()) for cabinet in group]
            await asyncio.gather(*(cabinet.connected.wait() for cabinet in group))
        self._tasks.append(asyncio.create_task(self._watch_acknowledgements()))
        self._tasks.append(asyncio.create_task(self._resend()))

    async def load(self, messages_per_s: float, facts_share: float) -> None:
        """Send states, and facts of charges, of random cabinets, until cancelled."""
        began = time.monotonic()
        self.sent = 0
        while True:
            due = int((time.monotonic() - began) * messages_per_s)
            while self.sent < due:
                cabinet = random.choice(self.cabinets)
                if cabinet.connected.is_set():
                    self._send(cabinet.sim, random.random() < facts_share)
                self.sent += 1
            await asyncio.sleep(0.005)

    def _send(self, sim: SimulatedCabinet, fact: bool) -> None:
        if not fact:
            sim.state()
            return
        running = [outlet for outlet, session in sim.sessions.items() if session.order is None]
        if running:
            sim.settle(running[0], cost_fen=80)
        else:
            sim.start(random.choice(sim.outlets[5:]))  # the first outlets are for orders
        self._lag[sim.cabinet, sim.number] = time.monotonic()
        sim.send_facts()

    async def _watch_acknowledgements(self) -> None:
        sims = {cabinet.sim.cabinet: cabinet.sim for cabinet in self.cabinets}
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            for key, at in list(self._lag.items()):
                if sims[key[0]].acked >= key[1]:
                    self.lags_s.append(now - at)
                    del self._lag[key]

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(RESEND_S)
            for cabinet in self.cabinets:
                if cabinet.connected.is_set() and cabinet.sim.number > cabinet.sim.acked:
                    cabinet.sim.send_facts(again=True)

    def end_charges(self, cost_fen: int) -> None:
        """Settle the charges that orders started."""
        for cabinet in self.cabinets:
            for outlet in [o for o, session in cabinet.sim.sessions.items() if session.order is not None]:
                cabinet.sim.settle(outlet, cost_fen=cost_fen)
                cabinet.sim.state()
            cabinet.sim.send_facts()

    async def answer(self, request: tuple[Any, ...]) -> dict[str, Any]:
        match request:
            case ("start",):
                began = time.monotonic()
                await self.start()
                return {"s": time.monotonic() - began}
            case ("load", float(rate), float(share)):
                self._load = asyncio.create_task(self.load(rate, share))
                self.lags_s.clear()
            case ("quiet",):
                if self._load is not None:
                    self._load.cancel()
            case ("end_charges", int(cost_fen)):
                self.end_charges(cost_fen)
        return {
            "connected": self.connected, "sent": self.sent, "unacked": self.unacked, "lags_s": self.lags_s,
            "facts": sum(cabinet.sim.number for cabinet in self.cabinets),
        }  # fmt: skip


def run(pipe: Pipe, names: list[str], keys: dict[str, bytes], host: str, port: int) -> None:
    """Serve requests on the pipe until it is closed: the target of a process."""

    async def body() -> None:
        crowd = Crowd(names, {key: VerifyKey(public) for key, public in keys.items()}, host, port)
        while True:
            try:
                request = await asyncio.to_thread(pipe.recv)
            except EOFError:
                return
            pipe.send(await crowd.answer(request))

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(body())
