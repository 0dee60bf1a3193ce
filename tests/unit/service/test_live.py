"""Viewers hear of changes, not too often, and the curve stays short."""

import asyncio

import pytest

from cabinet.clock import NS, ManualClock
from cabinet.model import MeterCount
from cabinet.records import CurvePoint
from cabinet.service.charges.live import MAX_POINTS, ChangeNotifier, Curve


class Pauses:
    """Stands in for asyncio.sleep: notes how long, and lets the clock pass."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.clock.advance_ns(int(seconds * NS))


async def test_a_watch_yields_at_once_and_then_with_every_change() -> None:
    clock = ManualClock()
    changes = ChangeNotifier(clock, pause=Pauses(clock))
    watch = changes.watch(3)
    await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not waiting.done()
    changes.touch(4)
    await asyncio.sleep(0)
    assert not waiting.done(), "another outlet's change"
    changes.touch(3)
    await waiting


def test_many_changes_are_one_and_two_a_second_the_most() -> None:
    async def story() -> list[float]:
        clock = ManualClock()
        pauses = Pauses(clock)
        changes = ChangeNotifier(clock, pause=pauses)
        watch = changes.watch(3)
        await anext(watch)
        for _ in range(3):
            clock.advance_ns(NS // 10)
            for _ in range(10):
                changes.touch(3)
            await anext(watch)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        assert not waiting.done(), "all ten were one"
        waiting.cancel()
        return pauses.taken

    assert asyncio.run(story()) == pytest.approx([0.4, 0.4, 0.4])


async def test_a_change_while_a_viewer_is_busy_is_not_lost() -> None:
    clock = ManualClock()
    changes = ChangeNotifier(clock, pause=Pauses(clock))
    watch = changes.watch(3)
    await anext(watch)
    changes.touch(3)
    async with asyncio.timeout(5):
        await anext(watch)


def test_the_same_face_wakes_nobody() -> None:
    changes = ChangeNotifier(ManualClock())
    assert changes.show(3, ("free", 0))
    assert not changes.show(3, ("free", 0))
    assert changes.show(4, ("free", 0))
    assert changes.show(3, ("in use", 0))


async def test_closing_ends_every_watch() -> None:
    changes = ChangeNotifier(ManualClock())
    watches = [changes.watch(topic) for topic in (1, 2, "cabinet")]
    for watch in watches:
        await anext(watch)
    ends = [asyncio.ensure_future(anext(watch, "ended")) for watch in watches]
    await asyncio.sleep(0)
    changes.close()
    assert await asyncio.gather(*ends) == ["ended"] * 3
    assert [each async for each in changes.watch(1)] == []


async def test_a_viewer_that_left_is_forgotten() -> None:
    changes = ChangeNotifier(ManualClock())
    watch = changes.watch(3)
    await anext(watch)
    await watch.aclose()  # type: ignore[attr-defined]
    assert changes._watchers[3] == set()


def count(powered_s: int, energy_mwh: int) -> MeterCount:
    return MeterCount(energy_mwh, powered_s * 1000, powered_s * 1000)


def test_a_point_is_the_mean_power_over_ten_powered_seconds() -> None:
    curve = Curve([], 10, MeterCount())
    for second in range(1, 26):
        curve.add(count(second, 100 * second))
    assert curve.points == [CurvePoint(10, 360), CurvePoint(20, 360)]


def test_time_without_looks_is_one_point() -> None:
    curve = Curve([], 10, MeterCount())
    curve.add(count(3600, 150_000))
    assert curve.points == [CurvePoint(3600, 150)]


def test_a_long_charge_is_thinned_to_pairs_and_its_step_doubled() -> None:
    curve = Curve([], 10, MeterCount())
    seconds = 36_000
    for second in range(10, seconds + 1, 10):
        curve.add(count(second, 50 * second))
    assert MAX_POINTS // 2 <= len(curve.points) <= MAX_POINTS
    assert curve.step_s == 80
    assert curve.points[-1].at_s > seconds - 2 * curve.step_s
    assert {point.power_w for point in curve.points} == {180}
    ats = [point.at_s for point in curve.points]
    assert ats == sorted(set(ats))


def test_what_is_taken_is_not_given_twice_unless_it_comes_back() -> None:
    curve = Curve([CurvePoint(10, 1)], 10, count(10, 0))
    curve.add(count(20, 100))
    assert curve.take(last=True) == ([CurvePoint(20, 36)], False)
    assert curve.take(last=True) == ([], False)
    curve.give_back()
    curve.add(count(30, 200))
    assert curve.take(last=True) == ([CurvePoint(10, 1), CurvePoint(20, 36), CurvePoint(30, 36)], True)
    assert curve.take(last=True) == ([], False)


def test_thinning_replaces_what_was_written() -> None:
    curve = Curve([CurvePoint(10 * n, 1) for n in range(1, MAX_POINTS + 1)], 10, count(10 * MAX_POINTS, 0))
    curve.add(count(10 * MAX_POINTS + 10, 100))
    points, replace = curve.take(last=False)
    assert replace
    assert points == curve.points
    assert len(points) == MAX_POINTS // 2 + 1


def test_points_are_written_twelve_at_a_time_and_all_of_them_at_the_end() -> None:
    curve = Curve([], 10, MeterCount())
    taken = []
    for second in range(10, 141, 10):
        curve.add(count(second, 100 * second))
        taken.append(len(curve.take(last=False)[0]))
    assert taken == [*[0] * 11, 12, 0, 0]
    assert [point.at_s for point in curve.take(last=True)[0]] == [130, 140]
