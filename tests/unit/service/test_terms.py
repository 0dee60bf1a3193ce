"""The terms a charge begins with: whose tariff, what was spent today, which package; and that it keeps them."""

import asyncio
from pathlib import Path

import pytest

from cabinet.billing import tariff_files
from cabinet.errors import Refused
from cabinet.link.guard_protocol import Energise
from cabinet.model import EndReason, Fault
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.service.ports import StartChoice
from cabinet_testing.service_harness import CARDS, FULL, NOON_MS, ServiceHarness

NIGHT = """\
version = "night"
service_fen_per_kwh = 0
time_bands = [{ from_w = 0, fen_per_hour = 60 }]
energy_periods = [{ start = "00:00", end = "24:00", electricity_fen_per_kwh = 51.03 }]
"""
PACKAGES = """\
version = "packages"
time_bands = [{ from_w = 0, to_w = 300, fen_per_hour = 60 }, { from_w = 300, fen_per_hour = 90, package_percent = 50 }]
packages = [{ hours = 1, price_fen = 80 }, { hours = 4, price_fen = 200 }]
energy_periods = [{ start = "00:00", end = "24:00", electricity_fen_per_kwh = 50 }]
"""
HOUR_PACKAGE = StartChoice("package", seconds=3600)


def write(harness: ServiceHarness, text: str, name: str = "a.toml") -> None:
    path = tariff_files.folder(harness.config) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run(story: object) -> None:
    asyncio.run(story())  # type: ignore[operator]


async def charge(
    harness: ServiceHarness, service: Service, seconds: int, power_mw: int, choice: StartChoice = FULL
) -> int:
    """A charge of resident 1 at outlet 3, to its end; what it cost, in fen."""
    number = len(harness.records())
    view = await service.charges.start(1, "C5T4", choice, f"k{number}")
    await harness.charge(service, 3, seconds, power_mw)
    harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)
    return (await service.charges.session(1, view.session_id)).cost_fen


def test_tariff_of_the_residents_group_is_shown_and_charged(harness: ServiceHarness) -> None:
    async def story() -> None:
        with harness.administering() as database:
            admin.set_group(database, CARDS[0], "staff")
        write(harness, NIGHT + 'groups = ["staff"]\n')
        async with harness.running() as service:
            shown = await service.charges.price("C5T4", "staff")
            assert (shown.version, shown.priced_kwh, shown.periods[0].electricity_fen) == ("night", 100, 5103)
            assert (await service.charges.price("C5T4", "")).version == harness.config.tariff.version
            assert await charge(harness, service, 1800, 200_000) == 30 + 5
        (record,) = harness.records()
        assert (record.tariff_version, record.electricity_fen, record.lines[1].per) == ("night", 5, 100)
        harness.check_books()

    run(story)


def test_session_keeps_the_tariff_it_began_with(harness: ServiceHarness) -> None:
    async def story() -> None:
        async with harness.running() as service:
            view = await service.charges.start(1, "C5T4", FULL, "k")
            write(harness, NIGHT)
            await service.checkpoint()
            assert (await service.charges.price("C5T4", "")).version == "night", "without a restart"
            await harness.charge(service, 3, 600)
        async with harness.running() as service:
            await harness.charge(service, 3, 600)
            harness.guard.end(3, EndReason.FULL)
            await harness.settle(service)
            assert (await service.charges.session(1, view.session_id)).tariff_version == harness.config.tariff.version

    run(story)


def test_tariff_of_the_day_goes_by_no_clock_that_lags_behind_what_was_seen(harness: ServiceHarness) -> None:
    """A computer without a battery starts at some day long ago, until it hears the time."""

    async def story() -> None:
        write(harness, NIGHT + "valid_from = 2026-05-01\n")
        async with harness.running() as service:
            assert (await service.charges.price("C5T4", "")).version == "night"
            await charge(harness, service, 60, 200_000)
        harness.clock.set_wall(NOON_MS - 365 * 86_400_000, trusted=False)
        async with harness.running() as service:
            assert (await service.charges.price("C5T4", "")).version == "night"

    run(story)


def test_bad_file_changes_nothing_and_is_told(harness: ServiceHarness) -> None:
    async def story() -> None:
        write(harness, NIGHT.replace("from_w = 0", "from_w = 10"))
        async with harness.running() as service:
            assert (await service.charges.price("C5T4", "")).version == harness.config.tariff.version
            (line,) = service.context.tariff_catalogue.mistakes
            assert "time_bands[1].from_w: gap" in line
            write(harness, NIGHT)
            await service.checkpoint()
            assert service.context.tariff_catalogue.mistakes == []
            assert (await service.charges.price("C5T4", "")).version == "night"

    run(story)


def test_what_a_resident_begins_on_one_day_costs_no_more_than_the_days_cap(harness: ServiceHarness) -> None:
    async def story() -> None:
        write(harness, NIGHT + "day_cap_fen = 100\nminimum_fen = 20\n")
        async with harness.running() as service:
            costs = [await charge(harness, service, 3600, 200_000) for _ in range(3)]
            assert costs == [60 + 10, 30, 0]
            harness.clock.set_wall(NOON_MS + 86_400_000, trusted=True)
            assert await charge(harness, service, 3600, 200_000) == 70, "another day"
        harness.check_books()

    run(story)


def test_package_is_paid_in_advance_and_what_is_left_of_it_comes_back(harness: ServiceHarness) -> None:
    async def story() -> None:
        write(harness, PACKAGES)
        async with harness.running() as service:
            view = await service.charges.start(1, "C5T4", HOUR_PACKAGE, "k")
            assert (view.choice, view.choice_amount) == ("package", 3600)
            assert view.held_fen == 80 + 50, "its price, and the electricity of an hour at 1000 W"
            await harness.charge(service, 3, 900, 200_000)
            harness.guard.end(3, EndReason.UNPLUGGED)
            await harness.settle(service)
            receipt = await service.charges.session(1, view.session_id)
        assert [(line.kind, line.amount_fen) for line in receipt.lines] == [("package", 20), ("electricity", 2)]
        assert (receipt.cost_fen, receipt.refund_fen) == (22, 108)
        harness.check_books()

    run(story)


def test_package_ends_the_sooner_the_more_is_drawn(harness: ServiceHarness) -> None:
    """The guard is told what is left at the present power, and the end is that of bought time."""

    async def story() -> None:
        write(harness, PACKAGES)
        async with harness.running() as service:
            view = await service.charges.start(1, "C5T4", HOUR_PACKAGE, "k")
            await harness.charge(service, 3, 20, 400_000)
            limits = [c for c in harness.guard.commands if isinstance(c, Energise)][-1].limits
            assert limits.charging_s is not None
            assert limits.energy_mwh is not None
            assert 1780 <= limits.charging_s <= 1800, "an hour above 300 W takes two of the package"
            assert limits.energy_mwh <= 500 * limits.charging_s * 1000 / 3600 + 1
            harness.guard.end(3, EndReason.LIMIT_ENERGY)
            await harness.settle(service)
            assert (await service.charges.session(1, view.session_id)).end_reason is EndReason.LIMIT_TIME

    run(story)


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        (StartChoice("package", seconds=7200), "bad_choice"),
        (StartChoice("package"), "bad_choice"),
        (StartChoice("package", seconds=3600, amount_fen=100), "bad_choice"),
        (StartChoice("package", seconds=14_400), "no_money"),
    ],
)
def test_package_that_is_not_sold_or_cannot_be_paid_is_refused(tmp_path: Path, choice: StartChoice, code: str) -> None:
    async def story() -> None:
        harness = ServiceHarness(tmp_path, balance_fen=150)
        write(harness, PACKAGES)
        async with harness.running() as service:
            with pytest.raises(Refused, match=code):
                await service.charges.start(1, "C5T4", choice, "k")
        assert harness.balance_fen("wallet:1") == 150

    run(story)


@pytest.mark.parametrize(("setting", "fen"), [("energy", 5), ("all", 35), ("nothing", 0)])
def test_charge_that_a_fault_ended_costs_what_the_tariff_says(harness: ServiceHarness, setting: str, fen: int) -> None:
    async def story() -> None:
        write(harness, NIGHT + f'tripped_charge = "{setting}"\n')
        async with harness.running() as service:
            view = await service.charges.start(1, "C5T4", FULL, "k")
            await harness.charge(service, 3, 1800, 200_000)
            harness.guard.trip(3, Fault.OUTLET_HOT)
            await harness.settle(service)
            assert (await service.charges.session(1, view.session_id)).cost_fen == fen
        harness.check_books()

    run(story)
