"""Live data: changes of an outlet or of the cabinet, and the power curve of a session."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

from cabinet.clock import NS, Clock
from cabinet.model import MeterCount
from cabinet.records import CurvePoint

MIN_GAP_S = 0.5

CURVE_STEP_S = 10
MAX_POINTS = 500
# Each running session has a database page of its own for its points: twelve at once wear the card a twelfth as much.
# A crash costs two minutes of the curve, and nothing of the bill.
POINTS_AT_ONCE = 12

CABINET = "cabinet"


class ChangeNotifier:
    """Change notifier: wakes the watchers of a topic; many changes in a short time count as one."""

    def __init__(self, clock: Clock, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._least_gap_ns = int(MIN_GAP_S * NS)
        self._pause = pause
        self._watchers: dict[Hashable, set[asyncio.Event]] = {}
        self._appearances: dict[Hashable, object] = {}
        self._closed = False

    def touch(self, topic: Hashable) -> None:
        """Notify that `topic` has changed."""
        for watcher in self._watchers.get(topic, ()):
            watcher.set()

    def show(self, topic: Hashable, appearance: object) -> bool:
        """Touch `topic` if `appearance`, all that its viewers see, has changed; return True if so."""
        if self._appearances.get(topic) == appearance:
            return False
        self._appearances[topic] = appearance
        self.touch(topic)
        return True

    async def watch(self, topic: Hashable) -> AsyncIterator[None]:
        """Yield at once, then after changes, never sooner than the least gap after the last; end with `close`."""
        changed = asyncio.Event()
        self._watchers.setdefault(topic, set()).add(changed)
        try:
            while not self._closed:
                yielded_ns = self._clock.monotonic_ns()
                yield None
                await changed.wait()
                left_ns = yielded_ns + self._least_gap_ns - self._clock.monotonic_ns()
                if left_ns > 0 and not self._closed:
                    await self._pause(left_ns / NS)
                changed.clear()
        finally:
            self._watchers[topic].discard(changed)

    def close(self) -> None:
        """End every watch: open connections must not delay the end of the process."""
        self._closed = True
        for topic in self._watchers:
            self.touch(topic)


class Curve:
    """Mean power over equal steps of powered time; if there are too many points, pairs become one."""

    def __init__(self, points: list[CurvePoint], step_s: int, at: MeterCount) -> None:
        self.points = points
        self.step_s = step_s
        self._from = at
        self._saved = len(points)
        self._thinned = False

    def add(self, count: MeterCount) -> None:
        """Take the session's count; add a point if a step of powered time has passed."""
        past_ms = count.powered_ms - self._from.powered_ms
        if past_ms < 1000 * self.step_s:
            return
        power_w = (count.energy_mwh - self._from.energy_mwh) * 3600 // past_ms
        self.points.append(CurvePoint(count.powered_ms // 1000, power_w))
        self._from = count
        if len(self.points) > MAX_POINTS:
            self._thin()

    def _thin(self) -> None:
        """Merge pairs of points; an odd point at the end stays as it is."""
        pairs = zip(self.points[0::2], self.points[1::2], strict=False)
        thinned = [CurvePoint(later.at_s, (earlier.power_w + later.power_w) // 2) for earlier, later in pairs]
        self.points = thinned + self.points[2 * len(thinned) :]
        self.step_s *= 2
        self._thinned = True

    def take(self, last: bool) -> tuple[list[CurvePoint], bool]:
        """Return the points to write now, all unsaved ones if `last`, and whether they replace the stored ones."""
        if not last and not self._thinned and len(self.points) - self._saved < POINTS_AT_ONCE:
            return [], False
        points, replace = (list(self.points), True) if self._thinned else (self.points[self._saved :], False)
        self._saved, self._thinned = len(self.points), False
        return points, replace

    def give_back(self) -> None:
        """Mark all points as unsaved, after a failed write."""
        self._thinned = True
