"""Every jump of the wall clock in every state of a charge: durations and energy stay those of the monotonic clock.

A computer without a battery wakes up at some day long ago and hears the time later; technicians set clocks by hand; a
time server may be wrong. None of it may cost a resident a fen, nor a second of what was bought.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.model import EndReason, Fault
from cabinet.records import UsageRecord
from cabinet.service.app import Service
from cabinet.service.ports import SessionView
from tests.unit.service.rig import FULL, NOON_MS, Rig

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
POWER_MW = 180_000  # 50 mWh a second
DEAREST, CHEAPEST = 55, 40  # fen a kWh, of the example's tariff; service is 30
BEFORE_S, AFTER_S = 605, 1210

JUMPS: dict[str, Callable[[Rig], None]] = {
    "to 1970": lambda rig: rig.clock.set_wall(0, trusted=False),
    "ten years back, trusted": lambda rig: by(rig, -3650 * DAY_MS),
    "a day back": lambda rig: by(rig, -DAY_MS),
    "an hour back": lambda rig: by(rig, -HOUR_MS),
    "two seconds back": lambda rig: by(rig, -2000),
    "two seconds on": lambda rig: by(rig, 2000),
    "an hour on": lambda rig: by(rig, HOUR_MS),
    "a day on": lambda rig: by(rig, DAY_MS),
    "fifty years on": lambda rig: by(rig, 50 * 365 * DAY_MS),
    "trust lost": lambda rig: rig.clock.set_wall(rig.clock.wall().unix_ms, trusted=False),
    "set right at last": lambda rig: rig.clock.set_wall(NOON_MS, trusted=True),
}
WRONG_BEFORE = {"set right at last"}


def by(rig: Rig, step_ms: int) -> None:
    rig.clock.set_wall(rig.clock.wall().unix_ms + step_ms, trusted=True)


class Story:
    """One charge with one jump in it, at a state of its life."""

    def __init__(self, rig: Rig, service: Service, jump: Callable[[Rig], None]) -> None:
        self.rig, self.service, self.jump = rig, service, jump

    async def start(self) -> SessionView:
        return await self.service.charges.start(1, "C5T4", FULL, "k")

    async def charge(self, seconds: int) -> None:
        await self.rig.charge(self.service, 3, seconds, POWER_MW)

    async def authorised(self) -> None:
        """Between the commit of the start and the guard's answer."""
        self.rig.guard.before_request = self._once
        await self.start()
        await self.charge(BEFORE_S + AFTER_S)

    def _once(self) -> None:
        self.rig.guard.before_request = lambda: None
        self.jump(self.rig)

    async def waiting_for_load(self) -> None:
        await self.start()
        self.jump(self.rig)
        await self.charge(BEFORE_S + AFTER_S)

    async def charging(self) -> None:
        await self.start()
        await self.charge(BEFORE_S)
        self.jump(self.rig)
        await self.charge(AFTER_S)

    async def suspended(self) -> None:
        await self.start()
        await self.charge(BEFORE_S)
        self.rig.guard.suspend(Fault.UNDERVOLTAGE)
        await self.rig.settle(self.service)
        self.jump(self.rig)
        self.rig.guard.let_close()
        for _ in range(3):
            self.rig.clock.advance_ns(2 * NS)
            await self.rig.settle(self.service)
        await self.charge(AFTER_S)

    async def finished(self) -> None:
        """Ended in the guard, and the service has not heard of it yet."""
        await self.start()
        await self.charge(BEFORE_S + AFTER_S)
        self.rig.guard.end(3, EndReason.FULL)
        self.jump(self.rig)
        await self.rig.settle(self.service)


STATES = ("authorised", "waiting_for_load", "charging", "suspended", "finished")


def settled(tmp_path: Path, state: str, name: str) -> tuple[Rig, UsageRecord]:
    rig = Rig(tmp_path)
    if name in WRONG_BEFORE:
        rig.clock.set_wall(NOON_MS - 3650 * DAY_MS, trusted=False)

    async def story() -> None:
        async with rig.running() as service:
            await getattr(Story(rig, service, JUMPS[name]), state)()
            if rig.guard.outlets[3].session_id is not None:
                rig.guard.end(3, EndReason.FULL)
            await rig.settle(service)

    asyncio.run(story())
    rig.check_books()
    (record,) = rig.records()
    return rig, record


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", JUMPS)
def test_no_jump_changes_what_was_used_or_makes_it_dearer(tmp_path: Path, state: str, name: str) -> None:
    rig, record = settled(tmp_path, state, name)
    delivered_mwh = sum(rig.guard.delivered_uwh.values()) // 1000
    assert record.energy_mwh == delivered_mwh
    assert abs(record.charging_s - (BEFORE_S + AFTER_S)) <= 1
    assert abs(record.powered_s - (BEFORE_S + AFTER_S)) <= 1
    kwh = delivered_mwh / 1_000_000
    time_fen = record.charging_s * 20 // 3600
    assert int(kwh * CHEAPEST) - 1 <= record.electricity_fen <= int(kwh * DEAREST)
    assert record.service_fen == time_fen + int(kwh * 30)


@pytest.mark.parametrize("state", STATES)
def test_receipt_says_when_the_clock_was_not_to_be_trusted(tmp_path: Path, state: str) -> None:
    _, record = settled(tmp_path, state, "to 1970")
    assert record.started.trusted
    assert not record.ended.trusted


def test_energy_used_while_the_clock_is_wrong_has_the_cheapest_price(tmp_path: Path) -> None:
    _, record = settled(tmp_path, "waiting_for_load", "to 1970")
    electricity = [line for line in record.lines if line.kind == "electricity"]
    whole_mwh = record.energy_mwh - record.energy_mwh % 1000
    assert [(line.unit_price_fen, line.quantity) for line in electricity] == [(CHEAPEST, whole_mwh)]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("wall_ms", [0, NOON_MS - HOUR_MS, NOON_MS + 600_000, NOON_MS + 365 * DAY_MS])
def test_reboot_in_the_middle_with_any_clock_bills_what_was_delivered(
    tmp_path: Path, wall_ms: int, trusted: bool
) -> None:
    """A power cut: another boot, whose monotonic clock began again, and whose wall clock is whatever it is."""
    rig = Rig(tmp_path)

    async def story() -> None:
        async with rig.running() as service:
            await Story(rig, service, lambda _: None).start()
            await rig.charge(service, 3, BEFORE_S, POWER_MW)
        rig.guard.restart(new_epoch=True)
        rig.boot = "boot-2"
        rig.clock.set_wall(wall_ms, trusted=trusted)
        async with rig.running() as service:
            for _ in range(3):
                rig.clock.advance_ns(2 * NS)
                await rig.settle(service)
            if rig.guard.outlets[3].session_id is not None:
                await rig.charge(service, 3, AFTER_S, POWER_MW)
                rig.guard.end(3, EndReason.FULL)
            await rig.settle(service)

    asyncio.run(story())
    rig.check_books()
    (record,) = rig.records()
    delivered_mwh = sum(rig.guard.delivered_uwh.values()) // 1000
    assert delivered_mwh - 10 * 50 <= record.energy_mwh <= delivered_mwh, "a checkpoint at most, for the resident"
    assert record.charging_s in range(BEFORE_S - 11, BEFORE_S + 1) or abs(record.charging_s - BEFORE_S - AFTER_S) <= 11


@pytest.mark.parametrize(
    ("zone", "start_ms"),
    [
        ("Asia/Shanghai", NOON_MS + 10 * HOUR_MS - 300_000),  # over 22:00
        ("Europe/Berlin", 1_774_745_700_000),  # 2026-03-29 01:55, five minutes before the clock goes on to 03:00
        ("Europe/Berlin", 1_792_889_700_000),  # 2026-10-25 02:55, five minutes before it goes back to 02:00
    ],
)
def test_zone_with_or_without_summer_time_bills_the_same_hour(tmp_path: Path, zone: str, start_ms: int) -> None:
    rig = Rig(tmp_path, {'site_id = "DEMO-1"': f'site_id = "DEMO-1"\ntimezone = "{zone}"'})
    rig.clock.set_wall(start_ms, trusted=True)

    async def story() -> None:
        async with rig.running() as service:
            await Story(rig, service, lambda _: None).start()
            await rig.charge(service, 3, 3600, POWER_MW)
            rig.guard.end(3, EndReason.FULL)
            await rig.settle(service)

    asyncio.run(story())
    (record,) = rig.records()
    assert (record.charging_s, record.energy_mwh) == (3600, sum(rig.guard.delivered_uwh.values()) // 1000)
    by_price = {line.unit_price_fen: line.quantity for line in record.lines if line.kind == "electricity"}
    if zone == "Asia/Shanghai":
        assert by_price[DEAREST] == pytest.approx(300 * 50, abs=5 * 50 + 1000)
    else:
        assert set(by_price) == {CHEAPEST}, "the whole night"
