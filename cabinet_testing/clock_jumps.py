"""Jumps of the wall clock in every state of a charge."""

from collections.abc import Callable

from cabinet.clock import NS
from cabinet.model import EndReason, Fault
from cabinet.service.app import Service
from cabinet.service.ports import SessionView
from cabinet_testing.service_harness import FULL, ServiceHarness

POWER_MW = 180_000  # 50 mWh a second
DEAREST, CHEAPEST = 55, 40  # fen a kWh, of the example's tariff; service is 30
BEFORE_S, AFTER_S = 605, 1210
STATES = ("authorised", "waiting_for_load", "charging", "suspended", "finished")


class JumpedCharge:
    """One charge with one jump in it, at a state of its life."""

    def __init__(self, harness: ServiceHarness, service: Service, jump: Callable[[ServiceHarness], None]) -> None:
        self.harness, self.service, self.jump = harness, service, jump

    async def start(self) -> SessionView:
        return await self.service.charges.start(1, "C5T4", FULL, "k")

    async def charge(self, seconds: int) -> None:
        await self.harness.charge(self.service, 3, seconds, POWER_MW)

    async def authorised(self) -> None:
        """Jump between the commit of the start and the guard's answer."""
        self.harness.guard.before_request = self._once
        await self.start()
        await self.charge(BEFORE_S + AFTER_S)

    def _once(self) -> None:
        self.harness.guard.before_request = lambda: None
        self.jump(self.harness)

    async def waiting_for_load(self) -> None:
        await self.start()
        self.jump(self.harness)
        await self.charge(BEFORE_S + AFTER_S)

    async def charging(self) -> None:
        await self.start()
        await self.charge(BEFORE_S)
        self.jump(self.harness)
        await self.charge(AFTER_S)

    async def suspended(self) -> None:
        await self.start()
        await self.charge(BEFORE_S)
        self.harness.guard.suspend(Fault.UNDERVOLTAGE)
        await self.harness.settle(self.service)
        self.jump(self.harness)
        self.harness.guard.let_close()
        for _ in range(3):
            self.harness.clock.advance_ns(2 * NS)
            await self.harness.settle(self.service)
        await self.charge(AFTER_S)

    async def finished(self) -> None:
        """Jump after the guard has ended the charge; the service has not received the event."""
        await self.start()
        await self.charge(BEFORE_S + AFTER_S)
        self.harness.guard.end(3, EndReason.FULL)
        self.jump(self.harness)
        await self.harness.settle(self.service)
