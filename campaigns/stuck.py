"""Every register of every chip stuck at each plausible value, before a short, during one, and without one.

Each scenario is one register of one chip, frozen at 0, at its present value, at a small, a middle or the greatest
value, on a cabinet with parts of real tolerances. The check uses the true currents, never the guard's reports:

- no contact that is commanded open still conducts, and no short persists;
- no outlet stays closed with a wrong sensor value for longer than stated here.

    python -m campaigns.stuck [--scenarios 200] [--campaign-seed N]   so many of each register and value
    python -m campaigns.stuck --seed N --verbose                      one again
"""

import math
import random
import sys
from collections.abc import Callable
from importlib import resources
from typing import NamedTuple

from cabinet.clock import MS, NS
from cabinet.guard.contactor_break import MAX_BREAK_NS
from cabinet.model import CABINET, Quality
from cabinet.sim.chips import ade7953_registers
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.chips.tmp102 import Tmp102
from cabinet.sim.outlet import Outlet
from cabinet_testing.sim_tolerances import Spread
from campaigns.fault_harness import FaultHarness
from campaigns.runner import Campaign, Outcome, main

SCENARIOS_EACH = 200  # in a full run, for each register and value
VALUES = ("0", "present", "small", "middle", "greatest")
MOMENTS = ("before", "during", "alone")
TURNS = 3  # scenarios on one cabinet, unless one fails

# Stated times. If the sensors work, a short is broken within two half-cycles plus the times of contactor and arc. If
# one sensor is stuck, a slower witness may detect the short, but within this time: the last one is the cabinet's meter,
# half a second and one of its readings later.
MAX_SHORT_S = 0.7
# The safety case states 5 s for stuck readings and 2 s for contradictory ones; values of the round-robin need one more
# turn.
MAX_BLIND_S = 7.5
# A thermometer and the contact it measures are slow: an overheating contact must be open before this temperature (PVC
# insulation is rated for 70 degrees, thermoplastic sockets begin to soften at 120 to 150), or after this time.
MAX_CONTACT_C = 150.0
MAX_HOT_S = 15 * 60.0

UNPROTECTED = 0.7  # share of the shorts without a breaker, which would hide the reaction of the controller
SPREAD = Spread(saturating=0.0, coil_diode=0.0)  # a saturating transformer would be a second wrong sensor

# Registers that the guard reads or relies on: each at every value. Others: at a value drawn for each scenario.
READ = {
    "meter": (
        "peak", "rms", "power", "energy", "voltage", "voltage_sample", "period", "status", "config", "required",
        "oilvl", "irqena", "irqenb", "alt_output", "lcycmode", "disnoload", "pga_v", "pga_i", "igain", "version",
    ),
    "thermometer": ("temperature", "config"),
    "expander": ("olat", "gpio", "iodir", "ipol"),
    "mux": ("channels",),
}  # fmt: skip


class Cell(NamedTuple):
    """One register at one value; "": a value drawn in each scenario."""

    chip: str
    register: str
    value: str

    @property
    def name(self) -> str:
        return f"{self.chip} {self.register}"


def _rest() -> list[Cell]:
    """Return the registers that the guard does not rely on, as far as known."""
    chips = {
        "meter": ade7953_registers.NAMES, "thermometer": Tmp102.register_names, "expander": Mcp23017.register_names,
        "mux": Tca9548a.register_names,
    }  # fmt: skip
    cells = {}
    for chip, names in chips.items():
        for register in names:
            plain = _plain(register)
            if plain not in READ[chip] and register != "iocon":  # its modes are not modelled
                cells[chip, plain] = Cell(chip, plain, "")
    return list(cells.values())


def _plain(register: str) -> str:
    """Return the name of a meter's register without its input."""
    for ending in ("_a", "_b"):
        register = register.removesuffix(ending)
    if register in ("pga_ia", "pga_ib"):
        return "pga_i"
    return register[1:] if register[0] in "ab" and register[1:] in _BY_INPUT else register


_BY_INPUT = ("igain", "vgain", "wgain", "vargain", "vagain", "irmsos", "wattos", "varos", "vaos")
CELLS = [
    *(Cell(chip, register, value) for chip, registers in READ.items() for register in registers for value in VALUES),
    Cell("alert", "line", "0"),
    Cell("alert", "line", "1"),
    *_rest(),
]


def _register_of(cell: Cell, letter: str) -> str:
    """Return the chip's name of the register for the input with that letter."""
    if cell.chip != "meter" or cell.register in ade7953_registers.NAMES:
        return cell.register
    for name in (f"{cell.register}_{letter}", f"{letter}{cell.register}", f"{cell.register}{letter}"):
        if name in ade7953_registers.NAMES:
            return name
    return cell.register + {"a": "_a", "b": "_b"}[letter]


def _value(cell: Cell, register: str, chance: random.Random) -> int | None:
    """Return the raw value, or None for the present one."""
    value = cell.value or chance.choice(VALUES)
    if value == "present":
        return None
    if cell.chip == "thermometer":
        signed = {"0": 0, "small": 0x0C80, "middle": 0x1E00, "greatest": 0x7FF0}  # 0, 12.5, 30 and 128 degrees
        return signed[value] if register == "temperature" else {**signed, "small": 0x61A0, "middle": 0x60A0}[value]
    full = (1 << _bits(cell, register)) - 1
    if cell.register in ("peak", "rms", "power", "voltage"):
        full = {"peak": 6_500_000, "rms": 9_032_007, "power": 4_862_401, "voltage": 9_032_007}[cell.register]
    return {"0": 0, "small": max(1, full // 500), "middle": full // 2, "greatest": full}[value]


def _bits(cell: Cell, register: str) -> int:
    if cell.chip == "meter":
        return 8 * ade7953_registers.width(ade7953_registers.NAMES[register][0])
    return 8 if cell.chip == "mux" else 16


def freeze(harness: FaultHarness, cell: Cell, number: int, after_s: float = 0.0) -> None:
    """Freeze the register of that outlet's chip; if each input has one, that of the outlet's input."""
    if cell.chip == "alert":
        harness.fault(number, "alert_stuck", level="high" if cell.value == "1" else "low")()
        return
    meter = harness.sim.world.outlets[number].meter
    assert meter is not None  # every outlet of a configuration has one
    register = _register_of(cell, meter[1].lower())
    value = _value(cell, register, harness.chance)
    params: dict[str, float | str] = {"chip": cell.chip, "register": register, "after_s": after_s}
    if value is not None:
        params["value"] = float(value)
    harness.fault(number, "stuck", **params)()


class Trial:
    """One stuck register of a cabinet in operation."""

    def __init__(self, cell: Cell, harness: FaultHarness) -> None:
        self.cell = cell
        self.harness = harness
        self.sim = harness.sim
        self.chance = harness.chance
        self.problems: list[str] = []
        self.short_ms: list[float] = []
        self.blind_s: list[float] = []
        self.charging = harness.some(1, 3)
        load = self.chance.choice((None, f"resistor:{self.chance.uniform(60, 900):.0f}"))
        harness.charge(self.charging, load)
        self.victim = self.chance.choice(self.charging)

    @property
    def outlet(self) -> Outlet:
        return self.sim.world.outlets[self.victim]

    def stick(self, after_s: float = 0.0) -> None:
        freeze(self.harness, self.cell, self.victim, after_s)

    def before(self) -> None:
        """Freeze before the short; the guard may detect it before the short or not."""
        self.stick()
        self.harness.wait(self.chance.choice((0.0, self.chance.uniform(0, 1), self.chance.uniform(0, 10))))
        self.short()
        self.watch()

    def during(self) -> None:
        self.short()
        self.stick(after_s=self.chance.uniform(0, 0.03))
        self.watch()

    def short(self) -> None:
        amps = 25 * (400 / 25) ** self.chance.random()
        phase = self.chance.uniform(0, 360)
        if self.chance.random() < UNPROTECTED:
            self.sim.world.fault(self.victim, "breaker", acts="never")
        self.harness.fault(self.victim, "short", amps=amps, at_phase=phase)()

    def watch(self) -> None:
        """Run until the short is broken and the weld check is done, then check."""
        sim, before = self.sim, self.sim.world.journal.last_seq
        sim.run(1200 * MS, until=lambda: not self.outlet.conducting)
        sim.run(700 * MS)  # the contactor closes again, and the weld check runs
        records = sim.world.journal.after(before - 1, self.victim)
        onsets = [record.at_ns for record in records if record.kind == "fault_onset"]
        if onsets:
            self.judge_short(onsets[0])
        self.judge_welds()

    def judge_short(self, onset_ns: int) -> None:
        """Check the total time of current flow, including current after the contactor closed onto a weld."""
        end_ns = self.sim.clock.monotonic_ns()
        flowed_ns = since_ns = 0
        for record in self.sim.world.journal.after(0, self.victim):
            if record.at_ns < onset_ns:
                continue
            if record.kind == "fault_onset":
                since_ns = record.at_ns
            elif record.kind == "current_zero" and since_ns:
                flowed_ns, since_ns = flowed_ns + record.at_ns - since_ns, 0
        if since_ns and self.outlet.energised:
            flowed_ns += end_ns - since_ns
        self.short_ms.append(flowed_ns / MS)
        if flowed_ns > MAX_SHORT_S * NS:
            self.problems.append(f"the short flowed for {flowed_ns / MS:.0f} ms")

    def judge_welds(self) -> None:
        """Check for outlets that should not conduct. A relay that is not opened yet may wait for the contactor."""
        found = self._unwanted()
        if found and not any(self.sim.world.truth(number).welded for number in found):
            self.sim.run(MAX_BREAK_NS)
            found = self._unwanted()
        self.problems += found.values()

    def _unwanted(self) -> dict[int, str]:
        """Return each outlet that conducts and should not, with a sentence on it."""
        found = {}
        for number in self.harness.outlets:
            truth = self.sim.world.truth(number)
            wanted = self.sim.outlet(number).closed and truth.coil_told
            if truth.power_mw > 1000 and not wanted:
                what = "welded" if truth.welded else "not opened"
                found[number] = f"outlet {number} is {what} and conducts {truth.power_mw / 1000:.0f} W"
        return found

    def alone(self) -> None:
        """Freeze without a short; a small change of the load makes the stuck value wrong."""
        if self.cell.chip == "thermometer":
            return self.burn()
        self.stick()
        self.harness.wait(self.chance.uniform(0.1, 1))
        changed_a = self.chance.uniform(0.5, 2.0)
        self.harness.fault(self.victim, "overload", amps=changed_a)()
        began_ns = self.sim.clock.monotonic_ns()
        self.sim.run(round(MAX_BLIND_S * NS), until=lambda: not any(self.sim.outlet(n).closed for n in self.charging))
        self.blind_s.append((self.sim.clock.monotonic_ns() - began_ns) / NS)
        for number in self.charging:
            self.judge_blind(number)
        self.judge_welds()
        return None

    def judge_blind(self, number: int) -> None:
        """Check that a closed outlet with current shows the true values."""
        truth = self.sim.world.truth(number)
        if not truth.conducting or truth.power_mw < 20_000:
            return
        true_peak_ma = self.sim.world.outlets[number].wave.max_a() * 1000
        shown_peak_ma = 0
        for _ in range(20):  # peaks of two half-cycles, each read separately
            self.sim.run(2 * MS)
            peak = self.sim.outlet(number).peak_ma
            shown_peak_ma = max(shown_peak_ma, peak.value or 0 if peak.quality is Quality.OK else 0)
        shown = self.sim.outlet(number)
        if not shown.closed:
            return
        volts_mv = self.sim.world.mains.rms_v * 1000 if self.sim.world.mains else 0.0
        for name, value, true, leeway in (
            ("peak_ma", shown_peak_ma, true_peak_ma, 700),
            ("current_ma", shown.current_ma.value, truth.current_ma, 200),
            ("power_mw", shown.power_mw.value, truth.power_mw, 20_000),
            ("voltage_mv", shown.voltage_mv.value, volts_mv, 10_000),
        ):
            if value is None or abs(value - true) > 0.25 * true + leeway:
                self.problems.append(
                    f"outlet {number} closed on a blind sensor for {MAX_BLIND_S} s: {name} {value}, truly {true:.0f}"
                )

    def burn(self) -> None:
        """Heat a bad contact under load, in strides: it must be opened before it is too hot."""
        sim = self.sim
        for number in self.charging:
            sim.world.unplug(number)
            sim.plug(number, f"resistor:{self.chance.uniform(500, 950):.0f}")
        sim.stride(10 * NS, NS // 4)
        self.stick()
        ohms = 0.5 * (4 / 0.5) ** self.chance.random()
        self.harness.fault(self.victim, "hot", ohms=ohms)()
        hottest_c, began_ns = 0.0, sim.clock.monotonic_ns()
        while sim.clock.monotonic_ns() - began_ns < MAX_HOT_S * NS and hottest_c <= MAX_CONTACT_C:
            sim.stride(NS, NS // 4)
            if not sim.outlet(self.victim).closed:
                break
            hottest_c = max(hottest_c, sim.world.truth(self.victim).temperature_mc / 1000)
        self.blind_s.append((sim.clock.monotonic_ns() - began_ns) / NS)
        if not sim.outlet(self.victim).closed:
            sim.run(MAX_BREAK_NS)  # the command was just given: the contacts part some milliseconds later
        truth = sim.world.truth(self.victim)
        if truth.power_mw > 1000 and (hottest_c > MAX_CONTACT_C or self._is_mute(truth.temperature_mc / 1000)):
            shown = sim.outlet(self.victim).temperature_mc.value
            after_s = self.blind_s[-1]
            self.problems.append(f"closed on a blind thermometer for {after_s:.0f} s: shows {shown}, {hottest_c:.0f} C")
        self.judge_welds()

    def _is_mute(self, true_c: float) -> bool:
        """Return whether the reading differs from the temperature at the chip, with 0.7 of each contact's heat."""
        chip = self.sim.world.thermometers[self.victim]
        so_c = chip.temperature_c(self.sim.clock.monotonic_ns())
        shown = self.sim.outlet(self.victim).temperature_mc.value
        return shown is None or abs(shown / 1000 - so_c) > 10.0


def scenario(seed: int, verbose: bool) -> Outcome:
    cell = CELLS[seed % len(CELLS)]
    chance = random.Random(seed)
    say: Callable[[str], None] = (lambda text: print(text, file=sys.stderr)) if verbose else (lambda text: None)
    harness = FaultHarness(chance, say, _small(cell), SPREAD)
    figures: dict[str, list[float]] = {}
    cells: dict[str, dict[str, int]] = {}
    problems: list[str] = []
    done = 0
    moments = [chance.choice(MOMENTS)] if cell.chip == "thermometer" else chance.sample(MOMENTS, TURNS)
    try:
        for moment in moments:
            trial = Trial(cell, harness)
            say(f"{cell.name} at {cell.value or 'any value'}, {moment}")
            getattr(trial, moment)()
            done += 1
            problems += [f"{cell.name} at {cell.value or 'any value'}, {moment}: {each}" for each in trial.problems]
            figures.setdefault("a short flowed for, ms", []).extend(trial.short_ms)
            figures.setdefault("until opened or to the end without a short, s", []).extend(trial.blind_s)
            row, column = cells.setdefault(cell.name, {}), f"{moment}: " + ("**failed**" if trial.problems else "ok")
            row[column] = row.get(column, 0) + 1
            if trial.problems or not _mended(harness):
                break
    finally:
        harness.close()
    return Outcome(seed, tuple(problems), done, figures, cells)


def _mended(harness: FaultHarness) -> bool:
    """Return whether the cabinet soon accepts starts; if not, the next scenario uses another cabinet."""
    sim = harness.sim
    harness.repair()
    harness.wait(3.0)  # lost settings are found and restored, those of an expander in the second turn of their checks
    for state in harness.states():
        if state.latched:
            sim.clear(state.outlet)
        if state.session_id is not None:
            sim.stop(state.outlet)
    if sim.guard.snapshot().latched:
        sim.clear(CABINET)
    harness.forget_storms()
    return sim.run(4 * NS, until=lambda: all(o.refusal is None for o in harness.states()))


def _small(cell: Cell) -> dict[str, str]:
    """Return changes of the example: four outlets, two per chip; no heartbeat if hours pass in strides."""
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    changes = {text[text.index("[[outlet]]\nnumber = 5\n") :]: ""}
    return changes | ({"heartbeat_pin = 27\n": ""} if cell.chip == "thermometer" else {})


CAMPAIGN = Campaign(
    name="stuck",
    module="campaigns.stuck",
    counted="shorts or loads with a stuck register",
    scenario=scenario,
    whole=math.ceil(SCENARIOS_EACH / TURNS) * len(CELLS),
    quick=2,
    kinds=len(CELLS),
    promise="no weld left conducting, no outlet closed on a blind sensor for longer than its stated time",
)


def words(given: list[str]) -> list[str]:
    """Convert `--scenarios N`, the number for each cell, to the `--count` of cabinets."""
    if "--scenarios" not in given:
        return given
    place = given.index("--scenarios")
    count = math.ceil(int(given[place + 1]) / TURNS) * len(CELLS)
    return [*given[:place], "--count", str(count), *given[place + 2 :]]


if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN, words(sys.argv[1:])))
