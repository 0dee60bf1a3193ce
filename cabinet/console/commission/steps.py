"""The commissioning steps, as conversations that use neither the guard nor a terminal. Pure.

Each step is a generator: it yields a `StepRequest`, receives the `StepObservation` by `send`, and returns its
findings. If a run is interrupted, its step restarts from the beginning; earlier findings are passed in.

One lamp, the only load plugged in, shows which relay, sensor and socket belong together. If its current appears at an
outlet other than the closed one, the relay of that outlet is commanded open: the guard then trips `relay_welded`, and
the step evaluates that trip. No protection is changed for it.
"""

from collections.abc import Callable, Generator, Mapping, Sequence

from cabinet.config import Config
from cabinet.config.keys import OutletSection
from cabinet.console.commands.calibration_math import parse, relative_deviation
from cabinet.console.commission.findings import (
    SKIP,
    AskTechnician,
    CommissioningStep,
    Finding,
    Measure,
    MeasuredLoad,
    Probe,
    Probed,
    ReadTemperatures,
    RunTest,
    StepObservation,
    StepRequest,
    StepVerdict,
    Temperatures,
)
from cabinet.errors import Refused
from cabinet.maintenance import Job, JobKind, JobState, MaintenanceState
from cabinet.model import Fault

LAMP_MA = 100  # above: current of the lamp; below: noise and crosstalk
WARMED_MC = 2_000  # temperature rise that no draught causes
CLEARLY = 2  # factor by which the warmed sensor must rise more than any other
WARMINGS = 5
OFF_SHARE = 0.02  # a sensor with a larger deviation needs calibration
WELDED = Fault.RELAY_WELDED.value

Conversation = Generator[StepRequest, StepObservation, list[Finding]]
Earlier = Mapping[str, Sequence[Finding]]
"""Findings of earlier steps, by step key."""


def plan(config: Config, maintenance_state: MaintenanceState, has_contactor: bool) -> list[CommissioningStep]:
    """Return every step of this cabinet, in an order that needs the lamp in each outlet only once."""
    steps = [CommissioningStep("self_test")] if has_contactor else []
    for outlet in config.outlet:
        steps.append(CommissioningStep("wiring", outlet.number))
        if outlet.alert is not None:
            steps.append(CommissioningStep("alert", outlet.number))
        steps.append(CommissioningStep("calibration", outlet.number))
    if has_contactor:
        steps.append(CommissioningStep("contactor", config.outlet[-1].number))
    if maintenance_state.residual_test_fitted:
        steps.append(CommissioningStep("residual"))
    if maintenance_state.siren_fitted:
        steps.append(CommissioningStep("siren"))
    steps += [CommissioningStep("thermometer", group[0]) for group in thermometer_groups(config.outlet)]
    return steps + [CommissioningStep("sticker", outlet.number) for outlet in config.outlet]


def thermometer_groups(outlets: Sequence[OutletSection]) -> list[tuple[int, ...]]:
    """Return the groups of outlets that share a thermometer; an outlet without one is in no group."""
    groups: dict[object, list[int]] = {}
    for outlet in outlets:
        if outlet.thermometer is not None:
            at = outlet.thermometer
            groups.setdefault((at.mux, at.channel, at.address), []).append(outlet.number)
    return [tuple(group) for group in groups.values()]


def begin(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    """Return the conversation of `step`."""
    return _CONVERSATIONS[step.kind](step, config, earlier)


def wired(outlet: int, earlier: Earlier) -> bool:
    """Return True if the outlet's wiring was found correct: only then is a measurement there valid."""
    return any(f.verdict is StepVerdict.OK for f in earlier.get(CommissioningStep("wiring", outlet).key, ()))


def summary(earlier: Earlier) -> list[Finding]:
    """Return the wrong and failed findings, each mistake once: two exchanged relays or sensors are one swap."""
    wrong = [f for found in earlier.values() for f in found if f.verdict in (StepVerdict.WRONG, StepVerdict.FAILED)]
    named: list[Finding] = []
    for finding in wrong:
        pair = _PAIRS.get(finding.code)
        if pair is None:
            named.append(finding)
            continue
        here, there = (int(finding.params[name]) for name in ("at", "of"))
        mutual = any(f.code == finding.code and (f.params["at"], f.params["of"]) == (there, here) for f in wrong)
        swap = Finding(StepVerdict.WRONG, pair, {"first": min(here, there), "second": max(here, there)})
        if not mutual:
            named.append(finding)
        elif swap not in named:
            named.append(swap)
    return named


_PAIRS = {
    "relay_elsewhere": "relays_swapped",
    "meter_elsewhere": "meters_swapped",
    "thermometer_elsewhere": "thermometers_swapped",
}


def _ok(code: str, /, **params: int | str) -> list[Finding]:
    return [Finding(StepVerdict.OK, code, params)]


def _wrong(code: str, /, **params: int | str) -> list[Finding]:
    return [Finding(StepVerdict.WRONG, code, params)]


def _failed(code: str, /, **params: int | str) -> list[Finding]:
    return [Finding(StepVerdict.FAILED, code, params)]


def _skipped(code: str = "skipped", **params: int | str) -> list[Finding]:
    return [Finding(StepVerdict.SKIPPED, code, params)]


# --- relays and current sensors --------------------------------------------------------------------------------------


def _wiring(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    here = step.outlet
    if (yield AskTechnician("wiring", {"outlet": here})) == SKIP:
        return _skipped()
    for closed in [here, *_others(here, config, earlier)]:
        probed = yield Probe(closed)
        assert isinstance(probed, Probed)
        if probed.refusal:
            return _failed("refused", outlet=closed, refusal=probed.refusal)
        strange = {outlet: fault for outlet, fault in probed.tripped.items() if fault != WELDED}
        if strange:
            outlet, fault = min(strange.items())
            return _failed("tripped", outlet=outlet, fault=fault)
        shown = _shown(probed)
        if shown is not None:
            return _judged(here, closed, shown, probed)
    return _failed("nothing_drew", outlet=here)


def _others(here: int, config: Config, earlier: Earlier) -> list[int]:
    """Return the other outlets: those suspected after an earlier step first, then those not proven correct."""
    suspected = [
        int(finding.params["at"])
        for found in earlier.values()
        for finding in found
        if finding.code == "relay_elsewhere" and finding.params["of"] == here
    ]
    others = [outlet.number for outlet in config.outlet if outlet.number != here]
    return sorted(others, key=lambda number: (number not in suspected, wired(number, earlier), number))


def _shown(probed: Probed) -> int | None:
    """Return the outlet at which the lamp's current was measured; None if there is none."""
    seen = [outlet for outlet, ma in probed.drew.items() if ma > LAMP_MA] or sorted(probed.tripped)
    return seen[0] if seen else None


def _judged(here: int, closed: int, shown: int, probed: Probed) -> list[Finding]:
    """Judge the lamp in socket `here`: it lit when `closed` was closed, and was measured at `shown`."""
    reversed_ = _wrong("current_reversed", outlet=shown) if shown in probed.backwards else []
    if closed == here == shown:
        volts = {"amps": f"{probed.drew[here] / 1000:.2f}", "watts": f"{probed.power_mw.get(here, 0) / 1000:.1f}"}
        return [*_ok("wired", outlet=here, **volts), *reversed_]
    if closed == shown:
        return [*_wrong("whole_elsewhere", at=here, of=closed), *reversed_]
    findings = _wrong("relay_elsewhere", at=here, of=closed) if closed != here else []
    return [*findings, *(_wrong("meter_elsewhere", at=here, of=shown) if shown != here else []), *reversed_]


def _alert(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    """Test the alert line with the lamp still plugged in."""
    here = step.outlet
    if not wired(here, earlier):
        return _skipped("wiring_first", outlet=here)
    job = yield RunTest(JobKind.ALERT_LINE, here)
    assert isinstance(job, Job)
    if job.state is JobState.PASSED:
        return _ok("alert", outlet=here)
    if job.state is JobState.FAILED and job.outlets:
        return _wrong("alert_elsewhere", outlet=here, lines=", ".join(map(str, job.outlets)))
    return _job_failed(job, "alert_dead", outlet=here)


def _calibration(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    """Check the lamp's load with a reference meter; the finding states if `calibrate N` is needed."""
    here = step.outlet
    if not wired(here, earlier):
        return _skipped("wiring_first", outlet=here)
    key = "calibration"
    while True:
        typed = yield AskTechnician(key, {"outlet": here})
        assert isinstance(typed, str)
        if typed in (SKIP, ""):
            return _skipped()
        try:
            true_mw, true_ma = parse(typed)
            break
        except Refused:
            key = "calibration_again"
    load = yield Measure(here)
    assert isinstance(load, MeasuredLoad)
    if load.refusal:
        return _failed("refused", outlet=here, refusal=load.refusal)
    off_power, off_current = relative_deviation(true_mw, load.power_mw), relative_deviation(true_ma, load.current_ma)
    params: dict[str, int | str] = {
        "outlet": here,
        "watts": f"{load.power_mw / 1000:.1f}",
        "true_watts": f"{true_mw / 1000:.1f}",
        "off_power": f"{100 * off_power:+.1f}",
        "off_current": f"{100 * off_current:+.1f}",
    }
    good = max(abs(off_power), abs(off_current)) <= OFF_SHARE
    return [Finding(StepVerdict.OK if good else StepVerdict.WRONG, "calibrated" if good else "calibration_off", params)]


# --- cabinet-wide parts ----------------------------------------------------------------------------------------------


def _self_test(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    if (yield AskTechnician("self_test")) == SKIP:
        return _skipped()
    job = yield RunTest(JobKind.SELF_TEST)
    assert isinstance(job, Job)
    if job.state is JobState.PASSED:
        return _ok("self_test", outlets=len(config.outlet))
    return _job_failed(job, "self_test_failed", outlets=", ".join(map(str, job.outlets)) or "-")


def _contactor(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    """Close a relay while the contactor is open: the lamp, still in the last outlet, must stay dark."""
    here = step.outlet
    if not wired(here, earlier):
        return _skipped("wiring_first", outlet=here)
    if (yield AskTechnician("contactor", {"outlet": here})) == SKIP:
        return _skipped()
    job = yield RunTest(JobKind.SELF_TEST, here)
    assert isinstance(job, Job)
    if job.state is not JobState.PASSED:
        return _job_failed(job, "contactor_failed")
    dark = yield AskTechnician("contactor_dark")
    assert isinstance(dark, str)
    return _ok("contactor") if yes(dark) else _failed("contactor_failed")


def _residual(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    job = yield RunTest(JobKind.RESIDUAL)
    assert isinstance(job, Job)
    if job.state is JobState.PASSED:
        return _ok("residual", ms=job.values.get("ms", 0))
    return _job_failed(job, "residual_failed")


def _siren(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    if (yield AskTechnician("siren")) == SKIP:
        return _skipped()
    job = yield RunTest(JobKind.SIREN)
    assert isinstance(job, Job)
    heard = yield AskTechnician("siren_heard")
    assert isinstance(heard, str)
    return _ok("siren") if yes(heard) else _failed("siren_silent")


def _job_failed(job: Job, code: str, **params: int | str) -> list[Finding]:
    """Return the failure, plus a finding for a trip or a refusal that ended the job."""
    findings = _failed(code, **params)
    if job.fault is not None:
        findings += _failed("tripped", outlet=job.outlet, fault=job.fault.value)
    if job.why:
        findings += _failed("refused", outlet=job.outlet, refusal=job.why)
    return findings


# --- thermometers and stickers ---------------------------------------------------------------------------------------


def _thermometer(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    """Find the sensor that gets warm when the contacts of this outlet are warmed."""
    groups = thermometer_groups(config.outlet)
    mine = next(group for group in groups if step.outlet in group)
    before = yield ReadTemperatures()
    assert isinstance(before, dict)
    if before.get(step.outlet) is None:
        return _failed("thermometer_dead", outlet=step.outlet)
    key = "thermometer"
    for _ in range(WARMINGS):
        if (yield AskTechnician(key, {"outlet": step.outlet})) == SKIP:
            return _skipped()
        now = yield ReadTemperatures()
        assert isinstance(now, dict)
        warmed = _warmed(groups, before, now)
        if warmed is not None:
            kelvin = f"{((now[warmed[0]] or 0) - (before[warmed[0]] or 0)) / 1000:.1f}"
            if warmed == mine:
                return _ok("thermometer", outlet=step.outlet, kelvin=kelvin)
            return _wrong("thermometer_elsewhere", at=step.outlet, of=warmed[0], kelvin=kelvin)
        key = "thermometer_again"
    return _failed("thermometer_cold", outlet=step.outlet)


def _warmed(groups: list[tuple[int, ...]], before: Temperatures, now: Temperatures) -> tuple[int, ...] | None:
    """Return the group that warmed clearly more than all others; None if no group did yet."""
    rises: list[tuple[int, tuple[int, ...]]] = []
    for group in groups:
        was, is_now = before.get(group[0]), now.get(group[0])
        if was is not None and is_now is not None:
            rises.append((is_now - was, group))
    rises.sort(reverse=True)
    if not rises or rises[0][0] < WARMED_MC:
        return None
    return rises[0][1] if len(rises) == 1 or rises[0][0] >= CLEARLY * rises[1][0] else None


def _sticker(step: CommissioningStep, config: Config, earlier: Earlier) -> Conversation:
    """Compare the code on the sticker: typed by hand, or by a scanner that types the whole address."""
    outlet = config.outlet_by_number(step.outlet)
    assert outlet is not None  # steps are planned from configured outlets
    typed = yield AskTechnician("sticker", {"outlet": step.outlet})
    assert isinstance(typed, str)
    if typed in (SKIP, ""):
        return _skipped()
    code = typed.rstrip("/").rpartition("/")[2].upper()
    if code == outlet.code:
        return _ok("sticker", outlet=step.outlet, code=code)
    other = config.outlet_by_code(code)
    if other is not None:
        return _wrong("sticker_elsewhere", outlet=step.outlet, of=other.number, code=code)
    return _wrong("sticker_unknown", outlet=step.outlet, typed=code[:20], code=outlet.code)


def yes(typed: str) -> bool:
    return typed.lower() in ("yes", "y", "是")


_CONVERSATIONS: dict[str, Callable[[CommissioningStep, Config, Earlier], Conversation]] = {
    "self_test": _self_test,
    "wiring": _wiring,
    "alert": _alert,
    "calibration": _calibration,
    "contactor": _contactor,
    "residual": _residual,
    "siren": _siren,
    "thermometer": _thermometer,
    "sticker": _sticker,
}
