"""A charge to its end, and the requests after the service was killed in it."""

import contextlib

from cabinet.clock import NS
from cabinet.errors import Refused
from cabinet.model import EndReason
from cabinet.service.app import Service
from cabinet.uplink.messages import SessionSettled, SessionStarted, StartOrder
from cabinet_testing.fleet_harness import FleetHarness
from cabinet_testing.service_harness import FULL, ServiceHarness

CHECKPOINT_S = 10
POWER_MW = 360_000  # 100 mWh a second


class PaidCharge:
    """A charge to its end by a resident; the phone repeats the start after the service was killed."""

    def __init__(self, harness: ServiceHarness) -> None:
        self.harness = harness

    async def to_full(self, service: Service) -> None:
        view = await service.charges.start(1, "C5T4", FULL, "key-1")
        await self.harness.charge(service, 3, 25, POWER_MW)
        if self.harness.guard.outlets[3].session_id == view.session_id:
            self.harness.guard.end(3, EndReason.FULL)
        await self.harness.settle(service)

    async def afterwards(self, service: Service) -> None:
        """Repeat the start as the phone does, let time pass, and bring the charge to its end if there is one."""
        with contextlib.suppress(Refused):
            await service.charges.start(1, "C5T4", FULL, "key-1")
        await _to_the_end(self.harness, service)

    async def problems(self, service: Service) -> list[str]:
        """Return the difference between wallet and records."""
        spent_fen = sum(record.total_fen for record in self.harness.records())
        balance_fen = self.harness.balance_fen("wallet:1")
        return [] if balance_fen == 2000 - spent_fen else [f"wallet {balance_fen}, spent {spent_fen}"]


class OrderedCharge:
    """The same charge, started by an order of a fleet, which sends it again after the service was killed."""

    def __init__(self, harness: ServiceHarness) -> None:
        self.harness = harness
        self.fleet = FleetHarness(harness)
        self.order: StartOrder | None = None

    async def to_full(self, service: Service) -> None:
        self.order = self.order or await self.fleet.order(service)
        await self.fleet.send(service, self.order)
        await self.harness.charge(service, 3, 25, POWER_MW)
        if self.harness.guard.outlets[3].session_id is not None:
            self.harness.guard.end(3, EndReason.FULL)
        await self.harness.settle(service)

    async def afterwards(self, service: Service) -> None:
        """Send the order again, let time pass, and bring the charge to its end if there is one."""
        if self.order is not None:
            await self.fleet.send(service, self.order)
        await _to_the_end(self.harness, service)

    async def problems(self, service: Service) -> list[str]:
        """Return the differences between facts, records, ledger and the order's answer."""
        facts, records = await self.fleet.facts(service), self.harness.records()
        settled = [fact.record for fact in facts if isinstance(fact, SessionSettled)]
        started = [fact.session_id for fact in facts if isinstance(fact, SessionStarted)]
        wrong = [] if settled == records else [f"{len(records)} records, facts of {len(settled)}"]
        if len(started) > 1 or len(records) > 1:
            wrong.append(f"{len(started)} starts and {len(records)} records of one order")
        spent_fen = sum(record.total_fen for record in records)
        if self.harness.balance_fen("cash") != -3 * 2000 - spent_fen:
            wrong.append(f"cash {self.harness.balance_fen('cash')}, spent {spent_fen}")
        if self.order is not None:
            answer = await self.fleet.send(service, self.fleet.ask(self.order))
            if (left_fen := self.harness.balance_fen(f"order:{self.order.order}")) != 0:
                wrong.append(f"{left_fen} fen are left to the order")
            if answer is None or (answer.outcome == "ended") != bool(records):
                wrong.append(f"answer {answer} with {len(records)} records")
        return wrong


async def _to_the_end(harness: ServiceHarness, service: Service) -> None:
    for _ in range(3):
        harness.clock.advance_ns(2 * NS)
        await harness.settle(service)
    if harness.guard.outlets[3].session_id is not None:
        await harness.charge(service, 3, 15, POWER_MW)
        harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)
