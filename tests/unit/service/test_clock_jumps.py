"""Every jump of the wall clock in every state of a charge: durations and energy stay those of the monotonic clock.

A computer without a battery wakes up at some day long ago and hears the time later; technicians set clocks by hand; a
time server may be wrong. None of it may cost a resident a fen, nor a second of what was bought.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.model import EndReason
from cabinet.records import UsageRecord
from cabinet_testing.clock_jumps import AFTER_S, BEFORE_S, CHEAPEST, DEAREST, POWER_MW, STATES, JumpedCharge
from cabinet_testing.service_harness import NOON_MS, ServiceHarness

HOUR_MS, DAY_MS = 3_600_000, 86_400_000

JUMPS: dict[str, Callable[[ServiceHarness], None]] = {
    "to 1970": lambda harness: harness.clock.set_wall(0, trusted=False),
    "ten years back, trusted": lambda harness: by(harness, -3650 * DAY_MS),
    "a day back": lambda harness: by(harness, -DAY_MS),
    "an hour back": lambda harness: by(harness, -HOUR_MS),
    "two seconds back": lambda harness: by(harness, -2000),
    "two seconds on": lambda harness: by(harness, 2000),
    "an hour on": lambda harness: by(harness, HOUR_MS),
    "a day on": lambda harness: by(harness, DAY_MS),
    "fifty years on": lambda harness: by(harness, 50 * 365 * DAY_MS),
    "trust lost": lambda harness: harness.clock.set_wall(harness.clock.wall().unix_ms, trusted=False),
    "set right at last": lambda harness: harness.clock.set_wall(NOON_MS, trusted=True),
}
WRONG_BEFORE = {"set right at last"}


def by(harness: ServiceHarness, step_ms: int) -> None:
    harness.clock.set_wall(harness.clock.wall().unix_ms + step_ms, trusted=True)


def settled(tmp_path: Path, state: str, name: str) -> tuple[ServiceHarness, UsageRecord]:
    harness = ServiceHarness(tmp_path)
    if name in WRONG_BEFORE:
        harness.clock.set_wall(NOON_MS - 3650 * DAY_MS, trusted=False)

    async def story() -> None:
        async with harness.running() as service:
            await getattr(JumpedCharge(harness, service, JUMPS[name]), state)()
            if harness.guard.outlets[3].session_id is not None:
                harness.guard.end(3, EndReason.FULL)
            await harness.settle(service)

    asyncio.run(story())
    harness.check_books()
    (record,) = harness.records()
    return harness, record


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", JUMPS)
def test_no_jump_changes_what_was_used_or_makes_it_dearer(tmp_path: Path, state: str, name: str) -> None:
    harness, record = settled(tmp_path, state, name)
    delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
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
    harness: ServiceHarness, wall_ms: int, trusted: bool
) -> None:
    """A power cut: another boot, whose monotonic clock began again, and whose wall clock is whatever it is."""

    async def story() -> None:
        async with harness.running() as service:
            await JumpedCharge(harness, service, lambda _: None).start()
            await harness.charge(service, 3, BEFORE_S, POWER_MW)
        harness.guard.restart(new_epoch=True)
        harness.boot = "boot-2"
        harness.clock.set_wall(wall_ms, trusted=trusted)
        async with harness.running() as service:
            for _ in range(3):
                harness.clock.advance_ns(2 * NS)
                await harness.settle(service)
            if harness.guard.outlets[3].session_id is not None:
                await harness.charge(service, 3, AFTER_S, POWER_MW)
                harness.guard.end(3, EndReason.FULL)
            await harness.settle(service)

    asyncio.run(story())
    harness.check_books()
    (record,) = harness.records()
    delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
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
    harness = ServiceHarness(tmp_path, {'site_id = "DEMO-1"': f'site_id = "DEMO-1"\ntimezone = "{zone}"'})
    harness.clock.set_wall(start_ms, trusted=True)

    async def story() -> None:
        async with harness.running() as service:
            await JumpedCharge(harness, service, lambda _: None).start()
            await harness.charge(service, 3, 3600, POWER_MW)
            harness.guard.end(3, EndReason.FULL)
            await harness.settle(service)

    asyncio.run(story())
    (record,) = harness.records()
    assert (record.charging_s, record.energy_mwh) == (3600, sum(harness.guard.delivered_uwh.values()) // 1000)
    by_price = {line.unit_price_fen: line.quantity for line in record.lines if line.kind == "electricity"}
    if zone == "Asia/Shanghai":
        assert by_price[DEAREST] == pytest.approx(300 * 50, abs=5 * 50 + 1000)
    else:
        assert set(by_price) == {CHEAPEST}, "the whole night"
