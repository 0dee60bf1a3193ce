"""A queue of timed events, in nanoseconds of the clock, that are run when time is advanced.

No event runs by itself. Every access to the simulated cabinet first advances the timeline to now, so the same code
works with real time and with a clock that a test sets.
"""

import heapq
from collections.abc import Callable

NEVER = 1 << 62

Action = Callable[[int], None]


class Event:
    """One planned action; `cancel` makes it a no-op."""

    __slots__ = ("action", "at_ns", "order")

    def __init__(self, at_ns: int, order: int, action: Action) -> None:
        self.at_ns = at_ns
        self.order = order
        self.action: Action | None = action

    def __lt__(self, other: "Event") -> bool:
        return (self.at_ns, self.order) < (other.at_ns, other.order)

    def cancel(self) -> None:
        self.action = None


class Timeline:
    """The queue. Events up to `now_ns` have run; the next event is due at `next_ns`."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.next_ns = NEVER
        self._events: list[Event] = []
        self._order = 0

    def at(self, at_ns: int, action: Action) -> Event:
        """Plan `action(at_ns)`; if the time has passed, it is taken as now. Return the event."""
        self._order += 1
        event = Event(max(at_ns, self.now_ns), self._order, action)
        heapq.heappush(self._events, event)
        self.next_ns = self._events[0].at_ns
        return event

    def advance_to(self, to_ns: int) -> None:
        """Run all events due up to `to_ns` in order, including those that events add. Time never goes back."""
        while self.next_ns <= to_ns:
            event = heapq.heappop(self._events)
            self.next_ns = self._events[0].at_ns if self._events else NEVER
            if event.action is not None:
                self.now_ns = event.at_ns
                event.action(event.at_ns)
        if to_ns > self.now_ns:
            self.now_ns = to_ns

    def drop_cancelled(self) -> None:
        """Drop cancelled events at the head, to make `next_ns` the time of a real event."""
        while self._events and self._events[0].action is None:
            heapq.heappop(self._events)
        self.next_ns = self._events[0].at_ns if self._events else NEVER
