"""Over-current lines of the meter chips: an edge wakes the loop and names the outlet to read first."""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set

from gpiozero import DigitalInputDevice
from gpiozero.pins import Factory

from cabinet.clock import MS, NS, Clock
from cabinet.config.keys import Config
from cabinet.config.wiring import PinRef
from cabinet.errors import CabinetError
from cabinet.hardware import mcp23017
from cabinet.hardware.bus import Bus, ChipPort
from cabinet.hardware.mcp23017 import Mcp23017

log = logging.getLogger(__name__)

CHECK_NS = NS
OLDEST_NS = 20 * MS  # an edge may be this old when it is reported: one mains cycle
RETRY_NS = 50 * MS  # one that does not answer may hold the bus for 10 ms each time
_NONE: Set[int] = frozenset()


class AlertExpander:
    """Alert lines of one expander: its interrupt signals that one has moved, its levels show which.

    The levels are compared with the previous ones: a line that stays low hides no other one.
    """

    def __init__(self, chip: Mcp23017, interrupt_pin: int, outlets: Mapping[int, int]) -> None:
        """Take the expander's alert lines. `outlets`: pin of the expander to outlet."""
        self.interrupt_pin = interrupt_pin
        self._chip = chip
        self._outlets = dict(outlets)
        self._mask = sum(1 << pin for pin in outlets)
        self.outlets = frozenset(outlets.values())
        self._low = 0
        self._moved_ns: int | None = None  # an interrupt not yet handled
        self._retry_ns = 0
        self._works: bool | None = None
        self.resets = 0  # how often its settings were found lost after it had worked
        self.address = chip.address

    def note(self, at_ns: int) -> None:
        """Note an interrupt of the expander; the first one not yet handled counts."""
        if self._moved_ns is None:
            self._moved_ns = at_ns

    def fallen(self, now_ns: int) -> list[tuple[int, int]]:
        """Return outlets with a fallen line and the interrupt's time. If the read fails, it is repeated later."""
        if self._moved_ns is None or now_ns < self._retry_ns:
            return []
        try:
            low = ~self._chip.levels() & self._mask
        except CabinetError as error:
            self._retry_ns = now_ns + RETRY_NS
            self._say(False, str(error))
            return []
        fell, self._low = low & ~self._low, low
        moved_ns, self._moved_ns = self._moved_ns, None
        return [(outlet, moved_ns) for pin, outlet in self._outlets.items() if fell >> pin & 1]

    def is_low(self, outlet: int) -> bool:
        """Return whether the outlet's line was low when the levels were last read."""
        return any(number == outlet and self._low >> pin & 1 for pin, number in self._outlets.items())

    def check(self, now_ns: int, interrupt_low: bool) -> None:
        """Set up the interrupts if the expander has lost them; note an interrupt that has been missed."""
        if now_ns < self._retry_ns:
            return
        try:
            if not self._chip.interrupts_on(self._mask):
                self.resets += self._works is True
                self._chip.initialise_interrupts(self._mask)
                self.note(now_ns)  # a line may have moved before
        except CabinetError as error:
            self._retry_ns = now_ns + RETRY_NS
            self._say(False, str(error))
            return
        self._say(True, "")
        if interrupt_low:
            self.note(now_ns)

    def _say(self, works: bool, why: str) -> None:
        if works == self._works:
            return
        which = ", ".join(str(outlet) for outlet in sorted(self._outlets.values()))
        if not works:
            log.warning("alerts of outlets %s do not come, shorts there are found by polling: %s", which, why)
        elif self._works is not None:
            log.warning("alerts of outlets %s come again", which)
        self._works = works


class AlertLines:
    """Active-low lines, one an outlet (the chip's outputs are push-pull and never share a line).

    Edges arrive in the pin factory's own thread; that thread only notes the source and the time and wakes the loop. The
    time is the factory's, if it has one: the kernel stamps an edge of a GPIO line as it comes (lgpio passes that on,
    RPi.GPIO does not), and a thread that waits for the interpreter comes later.
    """

    def __init__(
        self, pins: Mapping[int, int], expanders: Sequence[AlertExpander], pin_factory: Factory, clock: Clock
    ) -> None:
        """Take the lines and watch their edges. `pins`: outlet to GPIO, of lines that end at a GPIO."""
        self._clock = clock
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.noted: deque[tuple[int | AlertExpander, int]] = deque()  # edges that `take` has not returned yet
        ends: dict[int | AlertExpander, int] = {expander: expander.interrupt_pin for expander in expanders}
        ends.update(pins.items())
        self._lines = {
            who: DigitalInputDevice(pin, pull_up=None, active_state=False, pin_factory=pin_factory)
            for who, pin in ends.items()
        }
        for who, line in self._lines.items():
            line.when_activated = self._noter(who)
        self.expanders = list(expanders)
        self._outlets = sorted({*pins, *(outlet for each in expanders for outlet in each.outlets)})
        self._low_since_check: set[int] = set()
        self._standing: set[int] = set()  # low at two checks in a row
        self._stuck: set[int] = set()
        self._next_check_ns = 0

    @classmethod
    def from_config(cls, config: Config, bus: Bus, pin_factory: Factory, clock: Clock) -> "AlertLines":
        """Build the lines that `config` describes, over `bus` and `pin_factory`."""
        places = {o.number: PinRef.parse(o.alert) for o in config.outlet if o.alert is not None}
        expanders = [
            AlertExpander(
                Mcp23017(ChipPort(bus, mcp23017.NAME, fitted.address)),
                fitted.interrupt_pin,
                {place.pin: outlet for outlet, place in places.items() if place.expander == fitted.address},
            )
            for fitted in config.hardware.alert_expanders
        ]
        pins = {outlet: place.pin for outlet, place in places.items() if place.expander is None}
        return cls(pins, expanders, pin_factory, clock)

    def _noter(self, who: int | AlertExpander) -> Callable[[], None]:
        def note() -> None:
            now_ns = self._clock.monotonic_ns()
            os.eventfd_write(self.wake_fd, 1)  # before the note: `take` reads a wake-up only if there is a note
            self.noted.append((who, now_ns - self._age_ns(who)))

        return note

    def _age_ns(self, who: int | AlertExpander) -> int:
        """Return the age of the edge being reported; 0 if it is unknown: some kernels stamp by another clock."""
        age_ns = round((self._lines[who].active_time or 0.0) * NS)
        return age_ns if 0 < age_ns <= OLDEST_NS else 0

    def take(self) -> dict[int, int]:
        """Return the outlets with a line that went low since the last call, and the time of each, earliest first."""
        edges: dict[int, int] = {}
        if self.noted:
            with contextlib.suppress(BlockingIOError):  # an earlier call read the wake-up before its note was there
                os.eventfd_read(self.wake_fd)
            while self.noted:
                who, at_ns = self.noted.popleft()
                if isinstance(who, AlertExpander):
                    who.note(at_ns)
                else:
                    edges.setdefault(who, at_ns)
        if self.expanders:
            now_ns = self._clock.monotonic_ns()
            for expander in self.expanders:
                for outlet, at_ns in expander.fallen(now_ns):
                    edges.setdefault(outlet, at_ns)
        return edges

    def is_low(self, outlet: int) -> bool:
        """Return whether the outlet's line is low now; for one at an expander, when its levels were last read."""
        line = self._lines.get(outlet)
        if line is not None:
            return bool(line.value)
        return any(expander.is_low(outlet) for expander in self.expanders)

    def check(self, now_ns: int) -> Set[int]:
        """Check once a second that the expanders still report; call this on each tick.

        Return the outlets with a line that was low at this check and the one before. Either an edge was missed and the
        alert should be cleared; or the line is stuck: shorts there are then found by polling, and the log reports it
        once.
        """
        if now_ns < self._next_check_ns:
            return _NONE
        self._next_check_ns = now_ns + CHECK_NS
        for expander in self.expanders:
            expander.check(now_ns, bool(self._lines[expander].value))
        low = {outlet for outlet in self._outlets if self.is_low(outlet)}
        standing = low & self._low_since_check
        stuck = standing & self._standing  # although its alert was cleared a second ago
        for outlet in sorted(stuck - self._stuck):
            log.warning("the alert line of outlet %d stays low, shorts there are found by polling", outlet)
        for outlet in sorted(self._stuck - low):
            log.warning("the alert line of outlet %d moves again", outlet)
        self._stuck = (self._stuck & low) | stuck
        self._low_since_check, self._standing = low, standing
        return standing

    def take_resets(self) -> list[int]:
        """Return the expanders found with changed settings since the last call."""
        found = [expander.address for expander in self.expanders if expander.resets]
        for expander in self.expanders:
            expander.resets = 0
        return found

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        os.close(self.wake_fd)
