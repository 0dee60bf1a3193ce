"""gpiozero pins over simulated lines, in this process (`gpio`) or another one (`wire`). Light import."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from gpiozero.exc import PinFixedPull, PinInvalidBounce, PinInvalidFunction, PinInvalidPull, PinSetInput
from gpiozero.pins.pi import PiFactory, PiPin

BOARD_REVISION = 0xA02082  # Raspberry Pi 3B; any board with the 40-pin header would do

OnEdge = Callable[[bool, int], None]


class LineDoor(Protocol):
    """Calls that a pin needs from its line."""

    def read_line(self, number: int) -> bool: ...

    def is_output(self, number: int) -> bool: ...

    def drive_line(self, number: int, high: bool) -> None: ...

    def release_line(self, number: int) -> None: ...

    def pull_line(self, number: int, up: bool | None) -> None: ...

    def watch_line(self, number: int, on_edge: OnEdge) -> None: ...

    def unwatch_line(self, number: int) -> None: ...

    def close_door(self) -> None: ...


class LinePin(PiPin):  # type: ignore[misc]  # gpiozero has no types
    """A pin that refuses the same operations as the hardware."""

    def __init__(self, factory: "LineFactory", info: Any) -> None:
        super().__init__(factory, info)
        self._door = factory.door
        self._line: int = self._number
        self._output = self._door.is_output(self._line)
        self._pull = info.pull or "floating"
        self._edges = "both"

    def close(self) -> None:
        """Release the line: it becomes an input."""
        self.when_changed = None
        if self._output:
            self._door.release_line(self._line)
            self._output = False

    def output_with_state(self, state: bool) -> None:
        """Make the pin an output at that level, without a glitch."""
        self._output = True
        self._door.drive_line(self._line, bool(state))

    def _get_function(self) -> str:
        return "output" if self._output else "input"

    def _set_function(self, value: str) -> None:
        if value not in ("input", "output"):
            raise PinInvalidFunction(f"function of {self!r} must be input or output")
        if value == "output" and not self._output:
            self.output_with_state(self._door.read_line(self._line))
        elif value == "input" and self._output:
            self._output = False
            self._door.release_line(self._line)

    def _get_state(self) -> int:
        return int(self._door.read_line(self._line))  # for an output too: the level of the wire, as on a Raspberry Pi

    def _set_state(self, value: float) -> None:
        if not self._output:
            raise PinSetInput(f"cannot set state of pin {self!r}")
        self._door.drive_line(self._line, bool(value))

    def _get_pull(self) -> str:
        return str(self._pull)

    def _set_pull(self, value: str) -> None:
        if self._output:
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        if self.info.pull and value != self.info.pull:
            raise PinFixedPull(f"{self!r} has a fixed pull resistor")
        if value not in ("floating", "up", "down"):
            raise PinInvalidPull("pull must be floating, up, or down")
        self._pull = value
        self._door.pull_line(self._line, {"floating": None, "up": True, "down": False}[value])

    def _get_bounce(self) -> None:
        return None

    def _set_bounce(self, value: float | None) -> None:
        if value is not None:
            raise PinInvalidBounce(f"{self!r} has no debouncing")

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        self._edges = value

    def _enable_event_detect(self) -> None:
        self._door.watch_line(self._line, self._edge)

    def _disable_event_detect(self) -> None:
        self._door.unwatch_line(self._line)

    def _edge(self, high: bool, at_ns: int) -> None:
        if self._edges in ("both", "rising" if high else "falling") and self._when_changed is not None:
            self._call_when_changed(at_ns * 1e-9, int(high))


class LineFactory(PiFactory):  # type: ignore[misc]
    """Pin factory over one door. Ticks are seconds of the monotonic clock."""

    def __init__(self, door: LineDoor) -> None:
        super().__init__()
        self.door = door
        self.pin_class = LinePin

    def _get_revision(self) -> int:
        return BOARD_REVISION

    def close(self) -> None:
        super().close()
        self.door.close_door()

    def ticks(self) -> float:
        return time.monotonic()

    def ticks_diff(self, later: float, earlier: float) -> float:
        return later - earlier
