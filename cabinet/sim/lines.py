"""GPIO lines of the simulated computer: their drivers and their edge callbacks."""

from collections.abc import Callable

OnLevel = Callable[[bool, int], None]


class Lines:
    """Lines by BCM number. An output drives its line; otherwise the connected device does, or the pull resistor.

    An output keeps its level after the process that drove it has ended, as on a Raspberry Pi.
    """

    def __init__(self) -> None:
        self._driven: dict[int, bool] = {}
        self._outside: dict[int, bool] = {}
        self._pulls: dict[int, bool] = {}
        self._wired: dict[int, OnLevel] = {}
        self._watchers: dict[int, list[OnLevel]] = {}
        self._held: dict[int, bool] = {}

    def wire(self, number: int, level: bool, on_level: OnLevel | None = None) -> None:
        """Connect a device to the line: `level` applies while no output drives it, `on_level` is called on a change."""
        self._outside[number] = level
        if on_level is not None:
            self._wired[number] = on_level

    def level(self, number: int) -> bool:
        if self._held and number in self._held:
            return self._held[number]
        if number in self._driven:
            return self._driven[number]
        return self._outside.get(number, self._pulls.get(number, False))

    def is_output(self, number: int) -> bool:
        return number in self._driven

    def drive(self, number: int, high: bool, at_ns: int) -> None:
        """Make the line an output with the level `high`."""
        before = self.level(number)
        self._driven[number] = high
        self._changed(number, before, at_ns)

    def release(self, number: int, at_ns: int) -> None:
        """Make the line an input again."""
        before = self.level(number)
        self._driven.pop(number, None)
        self._changed(number, before, at_ns)

    def pull(self, number: int, up: bool | None, at_ns: int) -> None:
        """Set the computer's pull resistor; a connected device overrides it."""
        before = self.level(number)
        if up is None:
            self._pulls.pop(number, None)
        else:
            self._pulls[number] = up
        self._changed(number, before, at_ns)

    def outside(self, number: int, high: bool | None, at_ns: int) -> None:
        """Set the level that a chip or a contact drives; None: it releases the line."""
        before = self.level(number)
        if high is None:
            self._outside.pop(number, None)
        else:
            self._outside[number] = high
        self._changed(number, before, at_ns)

    def hold(self, number: int, level: bool | None, at_ns: int) -> None:
        """Force the line to a level by a defect that overrides any driver; None: release it."""
        before = self.level(number)
        if level is None:
            self._held.pop(number, None)
        else:
            self._held[number] = level
        self._changed(number, before, at_ns)

    def watch(self, number: int, watcher: OnLevel) -> None:
        """Call `watcher(high, at_ns)` on every edge."""
        self._watchers.setdefault(number, []).append(watcher)

    def unwatch(self, number: int, watcher: OnLevel) -> None:
        watchers = self._watchers.get(number, [])
        if watcher in watchers:
            watchers.remove(watcher)

    def _changed(self, number: int, before: bool, at_ns: int) -> None:
        high = self.level(number)
        if high == before:
            return
        wired = self._wired.get(number)
        if wired is not None:
            wired(high, at_ns)
        for watcher in tuple(self._watchers.get(number, ())):
            watcher(high, at_ns)
