"""Loads for an outlet: power, waveform and inrush.

A load is called when it gets and loses mains, and it is stepped on the timeline. Between steps its draw is constant.
"""

import csv
import itertools
import math
from pathlib import Path
from typing import NamedTuple, Protocol

from cabinet.errors import SimError
from cabinet.sim.waveform import RESISTIVE, Shape

RATED_V = 220.0
MAX_REPLAY_ROWS = 20_000


class Draw(NamedTuple):
    """A steady demand. `watts` applies at the present voltage; for a resistor it follows the square of the voltage."""

    watts: float
    shape: Shape


CAPACITOR_NS = 100_000_000  # the input capacitor keeps its charge, and the charger on, for so long


def emptied_share(off_ns: int | None) -> float:
    """Return the share of an input capacitor's charge lost after `off_ns` without mains; None: it never had mains."""
    return 1.0 if off_ns is None else min(1.0, off_ns / CAPACITOR_NS)


class Inrush(NamedTuple):
    """Worst pulse of current at switch-on: at the crest of the voltage, with empty capacitors.

    If `capacitor_uf` is set, the pulse is computed instead: a rectifier charges that capacitor through `limiter_ohm`,
    starting at `charged`, a share of the voltage's crest. The pulse begins when the mains exceeds the capacitor's
    voltage, lasts until shortly after the crest, and continues with smaller pulses in the next half-cycles.

    If `decay_ns` is set, it is the inrush of an iron core: `peak_a` at the worst moment, a zero crossing, and falling
    from cycle to cycle with that time constant.
    """

    peak_a: float
    width_ns: int
    capacitor_uf: float = 0.0
    limiter_ohm: float = 0.0
    charged: float = 0.0
    decay_ns: int = 0


class Load(Protocol):
    """Anything with a plug."""

    name: str

    def energise(self, at_ns: int, off_ns: int | None) -> Inrush | None:
        """Start with mains. Return the inrush or None. `off_ns` is the time without mains (None: never had any)."""

    def deenergise(self, at_ns: int) -> None:
        """Stop, because mains is lost."""

    def draw(self, at_ns: int, volts: float) -> Draw:
        """Return the demand from `at_ns` until the next step."""

    def next_step_ns(self, at_ns: int) -> int | None:
        """Return the time of the next change of the draw, or None if it stays."""

    def charge_percent(self) -> float | None:
        """Return the state of charge of the battery, or None if there is none."""

    def stage(self) -> str:
        """Return the present stage, in a few words."""


class Resistor:
    """A heater: current in phase with the voltage, no inrush. `watts` applies at 220 V."""

    def __init__(self, watts: float) -> None:
        if not 0 < watts <= 50_000:
            raise SimError(f"a resistor takes more than 0 and at most 50000 W, not {watts:g}")
        self.name = f"resistor:{watts:g}"
        self._watts = watts

    def energise(self, at_ns: int, off_ns: int | None) -> Inrush | None:
        return None

    def deenergise(self, at_ns: int) -> None:
        """Do nothing: a resistor has no state."""

    def draw(self, at_ns: int, volts: float) -> Draw:
        return Draw(self._watts * (volts / RATED_V) ** 2, RESISTIVE)

    def next_step_ns(self, at_ns: int) -> int | None:
        return None

    def charge_percent(self) -> float | None:
        return None

    def stage(self) -> str:
        return "on"


class Replay:
    """A recorded charge: the measured power, played at `speed` times real time.

    The recording pauses while there is no mains. After its end the last value stays.
    """

    SHAPE = Shape.of(2.2, 0.72)

    def __init__(self, name: str, rows: list[tuple[float, float]], speed: float = 1.0) -> None:
        """Take `rows` of seconds from the start and watts, in order of time."""
        self.name = name
        self._times_ns = [round(seconds * 1e9 / speed) for seconds, _ in rows]
        self._watts = [watts for _, watts in rows]
        self._played_ns = 0
        self._row = 0
        self._since_ns: int | None = None

    def energise(self, at_ns: int, off_ns: int | None) -> Inrush | None:
        self._since_ns = at_ns
        return Inrush(35.0 * emptied_share(off_ns), 1_000_000)

    def deenergise(self, at_ns: int) -> None:
        self._follow(at_ns)
        self._since_ns = None

    def _follow(self, at_ns: int) -> None:
        if self._since_ns is not None:
            self._played_ns += at_ns - self._since_ns
            self._since_ns = at_ns
        while self._row + 1 < len(self._times_ns) and self._times_ns[self._row + 1] <= self._played_ns:
            self._row += 1

    def draw(self, at_ns: int, volts: float) -> Draw:
        self._follow(at_ns)
        return Draw(self._watts[self._row], self.SHAPE)

    def next_step_ns(self, at_ns: int) -> int | None:
        if self._since_ns is None or self._row + 1 >= len(self._times_ns):
            return None
        return at_ns + self._times_ns[self._row + 1] - self._played_ns

    def charge_percent(self) -> float | None:
        return None

    def stage(self) -> str:
        return f"row {self._row + 1} of {len(self._times_ns)}"


def read_recording(path: Path) -> list[tuple[float, float]]:
    """Return seconds and watts of a CSV with columns `timestamp` (ms) and `value` (W). Raises SimError if invalid."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if not {"timestamp", "value"} <= set(table.fieldnames or ()):
                raise SimError(f"{path}: needs the columns timestamp (ms) and value (W)")
            rows = [_row(path, number, row) for number, row in enumerate(table, start=2)]
    except (OSError, UnicodeDecodeError) as error:
        raise SimError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    if not rows:
        raise SimError(f"{path}: no rows")
    if len(rows) > MAX_REPLAY_ROWS:
        raise SimError(f"{path}: {len(rows)} rows are more than {MAX_REPLAY_ROWS}")
    if any(later <= earlier for (earlier, _), (later, _) in itertools.pairwise(rows)):
        raise SimError(f"{path}: the timestamps do not rise")
    start = rows[0][0]
    return [(seconds - start, watts) for seconds, watts in rows]


def _row(path: Path, number: int, row: dict[str, str | None]) -> tuple[float, float]:
    try:
        seconds, watts = float(row["timestamp"] or "") / 1000, float(row["value"] or "")
    except ValueError:
        seconds = watts = math.nan
    if not (math.isfinite(seconds) and 0 <= watts <= 50_000):
        raise SimError(f"{path}: line {number} is not a time in ms and 0 to 50000 W")
    return seconds, watts
