"""A charge to its end, and the requests after the service was killed in it."""

import contextlib

from cabinet.clock import NS
from cabinet.errors import Refused
from cabinet.model import EndReason
from cabinet.service.app import Service
from cabinet_testing.service_harness import FULL, ServiceHarness

CHECKPOINT_S = 10
POWER_MW = 360_000  # 100 mWh a second


async def charge_to_full(harness: ServiceHarness, service: Service) -> None:
    view = await service.charges.start(1, "C5T4", FULL, "key-1")
    await harness.charge(service, 3, 25, POWER_MW)
    if harness.guard.outlets[3].session_id == view.session_id:
        harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)


async def afterwards(harness: ServiceHarness, service: Service) -> None:
    """Repeat the start as the phone does, let time pass, and bring the charge to its end if there is one."""
    with contextlib.suppress(Refused):
        await service.charges.start(1, "C5T4", FULL, "key-1")
    for _ in range(3):
        harness.clock.advance_ns(2 * NS)
        await harness.settle(service)
    if harness.guard.outlets[3].session_id is not None:
        await harness.charge(service, 3, 15, POWER_MW)
        harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)
