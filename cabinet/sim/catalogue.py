"""Loads by the name that a person types: `demo`, `lithium-48v`, `resistor:500`, `replay:FILE.csv`."""

import difflib
import random
from pathlib import Path

from cabinet.errors import SimError
from cabinet.sim.batteries import KINDS, SHAPES
from cabinet.sim.chargers import Charger, random_charger
from cabinet.sim.loads import Load, Replay, Resistor, read_recording
from cabinet.sim.waveform import RESISTIVE, unit_wave

FASTEST = 10_000.0
DEFAULT_CHARGE = 40.0


def make_load(text: str, charge_percent: float | None = None, speed: float = 1.0) -> Load:
    """Return the load named `text`. Raises SimError if it is unknown or does not take an option."""
    kind, _, detail = text.partition(":")
    if not 0 < speed <= FASTEST:
        raise SimError(f"--speed is more than 0 and at most {FASTEST:g}, not {speed:g}")
    if kind in KINDS and not detail:
        return Charger(kind, DEFAULT_CHARGE if charge_percent is None else charge_percent, speed)
    if kind == "random" and detail:
        if not detail.isdecimal():
            raise SimError(f"a random charger takes the seed of its dice, not {detail!r}; such as random:7")
        charger = random_charger(random.Random(int(detail)), charge_percent, speed)
        charger.name = text
        return charger
    if charge_percent is not None:
        raise SimError(f"--charge is for chargers, not for {text}")
    if kind == "replay" and detail:
        return Replay(text, read_recording(Path(detail)), speed)
    if kind == "resistor" and detail:
        if speed != 1.0:
            raise SimError("--speed is for chargers and recordings, not for a resistor")
        try:
            return Resistor(float(detail))
        except ValueError:
            raise SimError(f"a resistor takes watts, not {detail!r}; such as resistor:500") from None
    known = [*KINDS, "random:SEED", "resistor:WATTS", "replay:FILE.csv"]
    near = difflib.get_close_matches(text, known, 1, cutoff=0.4)
    raise SimError(
        f"no load named {text!r}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}")
    )


def warm_up() -> None:
    """Compute the waveforms of every load in advance, because plugging one in must not take time."""
    for shape in (RESISTIVE, Replay.SHAPE, *SHAPES, *(kind.shape for kind in KINDS.values())):
        unit_wave(shape)


def catalogue() -> list[tuple[str, str]]:
    """Return every load with a one-line description, for `cabinet sim loads`."""
    return [(name, kind.title) for name, kind in KINDS.items()] + [
        ("random:SEED", "a made-up charger and battery, the same for the same whole number"),
        ("resistor:WATTS", "a heater of so many watts at 220 V"),
        ("replay:FILE.csv", "a recorded charge: columns timestamp (ms) and value (W)"),
    ]
