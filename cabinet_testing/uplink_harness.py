"""The uplink of one enrolled cabinet over a service in memory, and the orders that a fleet sends it."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

from cabinet.clock import Clock, SystemClock
from cabinet.link.uplink_protocol import UplinkStatus, read_status, status_file
from cabinet.uplink.back_off import BackOff
from cabinet.uplink.messages import StartOrder
from cabinet.uplink.uplink import Uplink, UplinkSettings
from cabinet_testing.fake_uplink_service import FakeUplinkService
from cabinet_testing.fleet_broker import FleetBroker


class UplinkHarness:
    """The uplink of one enrolled cabinet in `folder`."""

    def __init__(
        self,
        folder: Path,
        cabinet: str,
        broker: FleetBroker | None,
        *,
        port: int | None = None,
        made: datetime.datetime | None = None,
    ) -> None:
        self.cabinet = cabinet
        self.state, self.run = folder / "state", folder / "run"
        self.serial = "" if broker is None else broker.enrol(cabinet, self.state, port=port, made=made).serial
        self.service = FakeUplinkService(self.state / "uplink" / "fleet-keys.json", cabinet)
        self.settings = UplinkSettings(self.state, self.run, "SITE")

    @contextlib.asynccontextmanager
    async def running(self, clock: Clock | None = None) -> AsyncIterator[Uplink]:
        back_off = BackOff(lambda: 0.0)
        uplink = Uplink(self.settings, self.service, clock or SystemClock(), back_off=back_off)
        task = asyncio.create_task(uplink.run())
        try:
            yield uplink
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(ended, asyncio.CancelledError), ended

    @property
    def status(self) -> UplinkStatus | None:
        return read_status(status_file(self.run), SystemClock().monotonic_ns())

    async def until_status(self, state: str, within_s: float = 20) -> UplinkStatus:
        """Wait for the status file: it is written at each change."""
        async with asyncio.timeout(within_s):
            while (status := self.status) is None or status.state != state:
                await asyncio.sleep(0.02)
        return status


def start_order(cabinet: str, order: str = "ORDER-0001") -> StartOrder:
    """Return a start as `FakeUplinkService` takes it: it checks neither epoch nor challenge nor time."""
    return StartOrder(
        cabinet=cabinet,
        epoch="epoch-1",
        boot="boot-1",
        challenge="c1",
        order=order,
        outlet=1,
        choice="full",
        tariff_version="t1",
        held_fen=500,
        not_after_unix_ms=2**50,
    )
