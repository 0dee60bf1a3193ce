"""The cabinet's load in steps of five minutes: what is kept, and how little is written for it."""

import pytest

from cabinet.clock import NS, ManualClock
from cabinet.records import LoadSample
from cabinet.service.charges.feed_load import IDLE_STEPS, LoadMeans
from cabinet.store import load
from cabinet.store.moment import Moment
from cabinet_testing.service_harness import FULL, NOON_MS, ServiceHarness


def run(means: LoadMeans, clock: ManualClock, seconds: int, feed_mw: int) -> None:
    """A snapshot a second."""
    for _ in range(seconds):
        clock.advance_ns(NS)
        wall = clock.wall()
        means.add(feed_mw, 7_000_000, Moment("boot", clock.monotonic_ns(), wall.unix_ms, True))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(unix_ms=NOON_MS)


def test_a_step_has_the_mean_over_its_time_and_the_highest_load(clock: ManualClock) -> None:
    means = LoadMeans()
    run(means, clock, 100, 300_000)
    run(means, clock, 200, 900_000)
    (sample,) = means.take(at_once=False)
    assert sample.start_unix_s == NOON_MS // 1000
    assert sample.peak_mw == 900_000
    assert sample.limit_mw == 7_000_000
    assert abs(sample.mean_mw - 700_000) < 3_000
    assert means.take(at_once=True) == []


def test_time_without_the_guard_is_not_counted_as_load(clock: ManualClock) -> None:
    means = LoadMeans()
    run(means, clock, 60, 500_000)
    clock.advance_ns(200 * NS)
    run(means, clock, 60, 500_000)
    assert [sample.mean_mw for sample in means.take(at_once=True)] == [500_000]
    clock.advance_ns(600 * NS)
    run(means, clock, 20, 500_000)
    clock.advance_ns(300 * NS)
    run(means, clock, 1, 0)
    assert means.take(at_once=True) == [], "20 seconds of five minutes say nothing about them"


def test_idle_steps_wait_for_an_hour_or_for_company(clock: ManualClock) -> None:
    means = LoadMeans()
    run(means, clock, 300 * (IDLE_STEPS - 1) + 1, 0)
    assert means.take(at_once=False) == []
    run(means, clock, 300, 0)
    assert len(means.take(at_once=False)) == IDLE_STEPS
    run(means, clock, 300, 0)
    assert len(means.take(at_once=True)) == 1


def test_what_could_not_be_written_is_written_later(clock: ManualClock) -> None:
    means = LoadMeans()
    run(means, clock, 301, 400_000)
    taken = means.take(at_once=False)
    means.give_back(taken)
    run(means, clock, 300, 400_000)
    assert [sample.start_unix_s for sample in means.take(at_once=False)] == [NOON_MS // 1000, NOON_MS // 1000 + 300]


async def test_the_table_stays_within_its_bound(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        many = [LoadSample(number * load.STEP_S, 1, 1, None) for number in range(load.MAX_SAMPLES + 50)]
        await service.context.storage.write(lambda c: load.add(c, many))
        kept = await service.context.storage.read(lambda c: load.between(c, 0, 1 << 40))
    assert (len(kept), kept[0].start_unix_s) == (load.MAX_SAMPLES, 50 * load.STEP_S)


async def test_samples_are_written_with_the_checkpoint(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await service.charges.start(1, "C5T4", FULL, "k1")
        for _ in range(310):
            harness.guard.charge(3, 2)
            harness.guard.show()
        await service.checkpoint()
        kept = await service.context.storage.read(lambda c: load.between(c, 0, 1 << 40))
        assert kept
        assert {sample.start_unix_s % load.STEP_S for sample in kept} == {0}
        view = await service.property_.figures.load(service.property_.figures._date(harness.clock.wall()))
        assert view.samples == kept
