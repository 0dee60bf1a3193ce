"""Parts with a coil: relays, the contactor, and the coil supply that the heartbeat keeps on."""

from collections.abc import Callable

from cabinet.sim.timeline import Event, Timeline

HEARTBEAT_NS = 100_000_000  # without an edge for so long, the coil supply switches off


class Relay:
    """A coil and its contacts. The coil is energised while `commanded` and `supplied`; the contacts follow later.

    `moved(closed, at_ns)` is called when the contacts have moved; a welded contact does not open.
    """

    def __init__(
        self,
        timeline: Timeline,
        operate_ns: Callable[[], int],
        release_ns: Callable[[], int],
        moved: Callable[[bool, int], None],
    ) -> None:
        self._timeline = timeline
        self._operate_ns = operate_ns
        self._release_ns = release_ns
        self._moved = moved
        self._moving: Event | None = None
        self._moving_to = False
        self.commanded = False
        self.supplied = True
        self.closed = False
        self.welded = False

    @property
    def energised(self) -> bool:
        return self.commanded and self.supplied

    def command(self, on: bool, at_ns: int) -> None:
        self.commanded = on
        self._follow(at_ns)

    def supply(self, on: bool, at_ns: int) -> None:
        self.supplied = on
        self._follow(at_ns)

    def weld(self, at_ns: int) -> None:
        """Weld the contacts: they stay closed regardless of the coil."""
        self.welded = True
        self._stop_moving()
        if not self.closed:
            self._arrive(True, at_ns)

    def unweld(self, at_ns: int) -> None:
        self.welded = False
        self._follow(at_ns)

    def _follow(self, at_ns: int) -> None:
        wanted = self.energised
        if self._moving is not None:
            if self._moving_to == wanted:
                return
            self._stop_moving()
        if wanted != self.closed and not (self.welded and self.closed):
            delay_ns = self._operate_ns() if wanted else self._release_ns()
            self._moving_to = wanted
            self._moving = self._timeline.at(at_ns + delay_ns, lambda t: self._arrive(wanted, t))

    def _stop_moving(self) -> None:
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None

    def _arrive(self, closed: bool, at_ns: int) -> None:
        self._moving = None
        self.closed = closed
        self._moved(closed, at_ns)


class CoilSupply:
    """Coil supply, gated by a retriggerable pulse stage on the heartbeat line: any edge keeps it on for 100 ms.

    `switched(on, at_ns)` is called when it switches on or off. It is off until the first edge.
    """

    def __init__(self, timeline: Timeline, switched: Callable[[bool, int], None]) -> None:
        self._timeline = timeline
        self._switched = switched
        self._last_edge_ns = 0
        self._held = False
        self.on = False

    def edge(self, at_ns: int) -> None:
        self._last_edge_ns = at_ns
        if not self.on:
            self.on = True
            self._switched(True, at_ns)
            self._timeline.at(at_ns + HEARTBEAT_NS, self._check_heartbeat)

    def hold(self, at_ns: int) -> None:
        """Keep the supply on permanently, without a heartbeat: for long simulations without a controller."""
        self._held = True
        self.edge(at_ns)

    def _check_heartbeat(self, at_ns: int) -> None:
        if self._held:
            return
        due_ns = self._last_edge_ns + HEARTBEAT_NS
        if due_ns > at_ns:
            self._timeline.at(due_ns, self._check_heartbeat)
        else:
            self.on = False
            self._switched(False, at_ns)
