"""A broker for each file, and an uplink over a service in memory."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cabinet.clock import Clock, SystemClock
from cabinet.link.uplink_protocol import UplinkStatus, read_status, status_file
from cabinet.uplink.back_off import BackOff
from cabinet.uplink.uplink import Uplink, UplinkSettings
from cabinet_testing.fake_uplink_service import FakeUplinkService
from cabinet_testing.fleet_broker import SKIP_REASON, FleetBroker, running_broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetBroker]:
    if SKIP_REASON:
        pytest.skip(SKIP_REASON)
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


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
