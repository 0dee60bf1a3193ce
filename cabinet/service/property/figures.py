"""Statistics: sums by day and month, the load over a day, and each outlet's use by hour."""

import datetime
from bisect import bisect_right

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.records import UsageFilter
from cabinet.service.charges.context import ServiceContext
from cabinet.service.ports import DayFigures
from cabinet.service.property_views import Comparison, DaySum, LoadView, UsageSums, Utilisation
from cabinet.store import load
from cabinet.store import sessions as table

MAX_DAYS = 366
ONE_DAY = datetime.timedelta(days=1)
WEEK = datetime.timedelta(days=7)
HOUR_MS = 3_600_000


class UsageStatistics:
    """Implements `property_ports.StatisticsPort`."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def today(self) -> DayFigures:
        context, wall = self._context, self._context.clock.wall()
        start_ms, end_ms = context.site_time.day_bounds_ms(wall)
        sessions, (electricity_fen, service_fen) = await context.storage.read(
            lambda c: (table.count_started_in(c, start_ms, end_ms), table.earned_in(c, start_ms, end_ms))
        )
        day = context.site_time.day(wall)
        snapshot = context.guard_state.snapshot
        return DayFigures(
            sessions=sessions,
            energy_mwh=sum(context.daily_energy.energy_mwh(day, outlet.number) for outlet in context.config.outlet),
            electricity_fen=electricity_fen,
            service_fen=service_fen,
            feed_mw=snapshot.feed_mw if snapshot is not None and context.guard_reachable() else None,
        )

    async def comparison(self) -> Comparison:
        wall = self._context.clock.wall()
        day = self._date(wall)
        start_ms = self._start_ms(day)
        before_ms = self._start_ms(day - WEEK)
        past_ms = wall.unix_ms - start_ms
        today, before = await self._context.storage.read(
            lambda c: (
                table.logged_sums(c, UsageFilter(0, start_ms, wall.unix_ms + 1)),
                table.logged_sums(c, UsageFilter(0, before_ms, before_ms + past_ms + 1)),
            )
        )
        return Comparison(UsageSums(*today), UsageSums(*before), day, day - WEEK, wall)

    async def days(self, first: datetime.date, last: datetime.date) -> list[DaySum]:
        count = (last - first).days + 1
        if not 1 <= count <= MAX_DAYS:
            raise Refused("bad_request")
        return await self._summed([(first + number * ONE_DAY, first + number * ONE_DAY) for number in range(count)])

    async def months(self, last: datetime.date, count: int) -> list[DaySum]:
        spans = []
        month = last.replace(day=1)
        for _ in range(count):
            following = (month + 31 * ONE_DAY).replace(day=1)
            spans.append((month, following - ONE_DAY))
            month = (month - ONE_DAY).replace(day=1)
        return await self._summed(spans[::-1])

    async def _summed(self, spans: list[tuple[datetime.date, datetime.date]]) -> list[DaySum]:
        """Return the sums of `spans`, which follow one another without a gap."""
        starts_ms = [self._start_ms(first) for first, _ in spans]
        end_ms = self._start_ms(spans[-1][1] + ONE_DAY)
        totals = [[0, 0, 0, 0, 0] for _ in spans]
        rows = await self._context.storage.read(lambda c: table.logged_between(c, starts_ms[0], end_ms))
        for ended_ms, charging_ms, *amounts in rows:
            total = totals[bisect_right(starts_ms, ended_ms) - 1]
            for index, value in enumerate((1, charging_ms // 1000, *amounts)):
                total[index] += value
        return [DaySum(first, last, UsageSums(*total)) for (first, last), total in zip(spans, totals, strict=True)]

    async def load(self, day: datetime.date) -> LoadView:
        from_s, to_s = self._start_ms(day) // 1000, self._start_ms(day + ONE_DAY) // 1000
        stored = await self._context.storage.read(lambda c: load.between(c, from_s, to_s))
        known = {sample.start_unix_s for sample in stored}
        waiting = [
            sample
            for sample in self._context.load.waiting
            if from_s <= sample.start_unix_s < to_s and sample.start_unix_s not in known
        ]
        samples = sorted([*stored, *waiting], key=lambda sample: sample.start_unix_s)
        snapshot = self._context.guard_state.snapshot
        limits = [sample.limit_mw for sample in samples if sample.limit_mw is not None]
        now_mw = None if snapshot is None else snapshot.feed_limit_mw
        return LoadView(load.STEP_S, from_s, to_s, samples, limits[-1] if limits else now_mw)

    async def utilisation(self, first: datetime.date, last: datetime.date) -> Utilisation:
        if not 0 <= (last - first).days < MAX_DAYS:
            raise Refused("bad_request")
        from_ms = self._start_ms(first)
        to_ms = min(self._start_ms(last + ONE_DAY), self._context.clock.wall().unix_ms)
        rows = await self._context.storage.read(lambda c: table.occupied_between(c, from_ms, to_ms))
        passed = self._by_hour(from_ms, to_ms)
        used = {outlet.number: [0] * 24 for outlet in self._context.config.outlet}
        for outlet, started_ms, ended_ms in rows:
            if outlet in used:
                hours = self._by_hour(max(started_ms, from_ms), min(ended_ms, to_ms))
                used[outlet] = [one + other for one, other in zip(used[outlet], hours, strict=True)]
        shares = {outlet: _percentages(hours, passed) for outlet, hours in used.items()}
        everywhere = [sum(hours[hour] for hours in used.values()) for hour in range(24)]
        return Utilisation(shares, _percentages(everywhere, [len(used) * hour_ms for hour_ms in passed]))

    def _by_hour(self, from_ms: int, to_ms: int) -> list[int]:
        """Return the part of [from, to) that falls into each hour of the site's day, in ms."""
        hours = [0] * 24
        if to_ms <= from_ms:
            return hours
        offset_ms = self._context.site_time.minute(WallTime(from_ms, True)) * 60_000 - from_ms // 60_000 * 60_000
        days, rest_ms = divmod(to_ms - from_ms, 24 * HOUR_MS)
        hours = [days * HOUR_MS] * 24
        at_ms = from_ms + offset_ms
        while rest_ms > 0:
            step_ms = min(rest_ms, HOUR_MS - at_ms % HOUR_MS)
            hours[at_ms // HOUR_MS % 24] += step_ms
            at_ms += step_ms
            rest_ms -= step_ms
        return hours

    def _date(self, wall: WallTime) -> datetime.date:
        return datetime.date.fromordinal(self._context.site_time.day_number(wall))

    def _start_ms(self, date: datetime.date) -> int:
        return self._context.site_time.start_of_ms(date)


def _percentages(used: list[int], passed: list[int]) -> list[int | None]:
    return [
        None if whole == 0 else min(100, (200 * part + whole) // (2 * whole))
        for part, whole in zip(used, passed, strict=True)
    ]
