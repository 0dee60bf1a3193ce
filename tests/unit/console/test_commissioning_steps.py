"""Requests and conclusions of each step of commissioning. No guard, no terminal."""

import inspect
import re

import pytest

from cabinet.console.commission import steps
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
    StepVerdict,
)
from cabinet.console.commission.steps import _PAIRS, begin, plan, summary, thermometer_groups
from cabinet.console.wording import wording
from cabinet.maintenance import PPB, Job, JobKind, JobState, MaintenanceState
from cabinet_testing.sim_cabinet import demo_config

CONFIG = demo_config()
WIRED = {f"wiring:{n}": [Finding(StepVerdict.OK, "wired", {"outlet": n})] for n in range(1, 11)}
FITTED = MaintenanceState(0, [], PPB, siren_fitted=True, residual_test_fitted=True)


def run(step, *seen, earlier=None):
    """The needs in turn and the findings, when these are the observations."""
    conversation = begin(step, CONFIG, WIRED if earlier is None else earlier)
    needs = [next(conversation)]
    for each in seen:
        try:
            needs.append(conversation.send(each))
        except StopIteration as end:
            return needs, end.value
    raise AssertionError(f"{step} asks on: {needs[-1]}")


def found(step, *seen, earlier=None):
    return [(f.verdict, f.code) for f in run(step, *seen, earlier=earlier)[1]]


def job(kind, state, outlets=(), **more):
    return Job(1, kind, 0, "console:tech", state, outlets=list(outlets), **more)


def test_plan_tries_everything_that_is_fitted_once():
    planned = plan(CONFIG, FITTED, has_contactor=True)
    kinds = [step.kind for step in planned]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "self_test": 1, "wiring": 10, "alert": 10, "calibration": 10, "contactor": 1, "residual": 1, "siren": 1,
        "thermometer": 5, "sticker": 10,
    }  # fmt: skip
    assert len({step.key for step in planned}) == len(planned)
    bare = plan(CONFIG, MaintenanceState(0, [], PPB), has_contactor=False)
    assert {"self_test", "contactor", "residual", "siren"} & {step.kind for step in bare} == set()
    assert thermometer_groups(CONFIG.outlet)[1] == (3, 4)


def test_lamp_that_shows_where_it_is_makes_the_outlet_right():
    needs, findings = run(
        CommissioningStep("wiring", 3), "", Probed(3, drew={3: 270}, power_mw={3: 60_000}), earlier={}
    )
    assert needs == [AskTechnician("wiring", {"outlet": 3}), Probe(3)]
    assert [(f.verdict, f.code) for f in findings] == [(StepVerdict.OK, "wired")]


def test_reversed_sensor_is_named_beside_right_wiring():
    assert found(CommissioningStep("wiring", 3), "", Probed(3, drew={3: 270}, backwards=[3]), earlier={}) == [
        (StepVerdict.OK, "wired"),
        (StepVerdict.WRONG, "current_reversed"),
    ]


def test_relay_of_another_outlet_is_found_by_its_trip():
    nothing = [Probed(n) for n in (3, 1, 2, 4, 5, 6)]
    needs, findings = run(
        CommissioningStep("wiring", 3), "", *nothing, Probed(7, tripped={3: "relay_welded"}), earlier={}
    )
    assert needs[1:] == [Probe(n) for n in (3, 1, 2, 4, 5, 6, 7)]
    assert findings == [Finding(StepVerdict.WRONG, "relay_elsewhere", {"at": 3, "of": 7})]


def test_suspected_relay_is_tried_first_and_proven_ones_last():
    earlier = {
        "wiring:1": [Finding(StepVerdict.OK, "wired", {"outlet": 1})],
        "wiring:3": [Finding(StepVerdict.WRONG, "relay_elsewhere", {"at": 3, "of": 7})],
    }
    needs, _ = run(
        CommissioningStep("wiring", 7), "", Probed(7), Probed(3, tripped={7: "relay_welded"}), earlier=earlier
    )
    assert needs[1:] == [Probe(7), Probe(3)]
    needs, _ = run(CommissioningStep("wiring", 2), "", Probed(2), Probed(3), Probed(4, drew={4: 270}), earlier=earlier)
    assert needs[1:] == [Probe(2), Probe(3), Probe(4)]


@pytest.mark.parametrize(
    ("probed", "code"),
    [
        (Probed(3, tripped={7: "relay_welded"}), "meter_elsewhere"),
        (Probed(3, refusal="fault_latched"), "refused"),
        (Probed(3, tripped={3: "short_circuit"}), "tripped"),
    ],
)
def test_what_the_first_probe_shows_is_told_apart(probed, code):
    assert [c for _, c in found(CommissioningStep("wiring", 3), "", probed, earlier={})] == [code]


def test_outlet_wired_as_another_and_one_that_nothing_lights():
    others = (1, 2, 4)
    seen = [Probed(3), *(Probed(n) for n in others), Probed(5, drew={5: 270})]
    assert found(CommissioningStep("wiring", 3), "", *seen, earlier={}) == [(StepVerdict.WRONG, "whole_elsewhere")]
    dark = [Probed(3), *(Probed(n) for n in range(1, 11) if n != 3)]
    assert found(CommissioningStep("wiring", 3), "", *dark, earlier={}) == [(StepVerdict.FAILED, "nothing_drew")]


def test_mutual_mistakes_are_one_swap_in_the_summary():
    wrong = {
        "wiring:3": [Finding(StepVerdict.WRONG, "relay_elsewhere", {"at": 3, "of": 7})],
        "wiring:5": [Finding(StepVerdict.OK, "wired"), Finding(StepVerdict.WRONG, "current_reversed", {"outlet": 5})],
        "wiring:7": [Finding(StepVerdict.WRONG, "relay_elsewhere", {"at": 7, "of": 3})],
        "wiring:8": [Finding(StepVerdict.WRONG, "relay_elsewhere", {"at": 8, "of": 9})],
    }
    assert summary(wrong) == [
        Finding(StepVerdict.WRONG, "relays_swapped", {"first": 3, "second": 7}),
        Finding(StepVerdict.WRONG, "current_reversed", {"outlet": 5}),
        Finding(StepVerdict.WRONG, "relay_elsewhere", {"at": 8, "of": 9}),
    ]


@pytest.mark.parametrize(
    ("state", "moved", "expected"),
    [
        (JobState.PASSED, [3], (StepVerdict.OK, "alert")),
        (JobState.FAILED, [4], (StepVerdict.WRONG, "alert_elsewhere")),
        (JobState.FAILED, [], (StepVerdict.FAILED, "alert_dead")),
    ],
)
def test_alert_line_that_moves_is_the_outlets_own(state, moved, expected):
    assert found(CommissioningStep("alert", 3), job(JobKind.ALERT_LINE, state, moved)) == [expected]


@pytest.mark.parametrize("kind", ["alert", "calibration", "contactor"])
def test_nothing_is_measured_where_the_wiring_is_wrong(kind):
    conversation = begin(CommissioningStep(kind, 3), CONFIG, {})
    with pytest.raises(StopIteration) as end:
        next(conversation)
    assert [f.code for f in end.value.value] == ["wiring_first"]


def test_meter_is_compared_with_the_reference():
    needs, findings = run(CommissioningStep("calibration", 3), "60 what", "60 0.273", MeasuredLoad(270, 59_500))
    assert [type(need) for need in needs] == [AskTechnician, AskTechnician, Measure]
    assert [(f.verdict, f.code) for f in findings] == [(StepVerdict.OK, "calibrated")]
    assert found(CommissioningStep("calibration", 3), "60 0.273", MeasuredLoad(270, 57_000)) == [
        (StepVerdict.WRONG, "calibration_off")
    ]
    assert found(CommissioningStep("calibration", 3), "") == [(StepVerdict.SKIPPED, "skipped")]


def test_contactor_takes_the_power_away_and_the_lamp_stays_dark():
    passed = job(JobKind.SELF_TEST, JobState.PASSED)
    assert found(CommissioningStep("contactor", 10), "", passed, "yes") == [(StepVerdict.OK, "contactor")]
    assert found(CommissioningStep("contactor", 10), "", passed, "no") == [(StepVerdict.FAILED, "contactor_failed")]


def test_monitor_and_siren():
    answered = job(JobKind.RESIDUAL, JobState.PASSED, values={"ms": 120})
    needs, findings = run(CommissioningStep("residual"), answered)
    assert needs == [RunTest(JobKind.RESIDUAL)]
    assert findings == [Finding(StepVerdict.OK, "residual", {"ms": 120})]
    assert found(CommissioningStep("residual"), job(JobKind.RESIDUAL, JobState.BROKEN_OFF, why="cabinet_fault")) == [
        (StepVerdict.FAILED, "residual_failed"), (StepVerdict.FAILED, "refused"),
    ]  # fmt: skip
    assert found(CommissioningStep("siren"), "", job(JobKind.SIREN, JobState.PASSED), "no") == [
        (StepVerdict.FAILED, "siren_silent")
    ]


COLD = dict.fromkeys(range(1, 11), 25_000)


def warm(*outlets, by=5_000):
    return {**COLD, **dict.fromkeys(outlets, 25000 + by)}


def test_thermometer_that_gets_warm_is_the_outlets_own():
    needs, findings = run(CommissioningStep("thermometer", 3), COLD, "", warm(3, 4))
    assert needs == [ReadTemperatures(), AskTechnician("thermometer", {"outlet": 3}), ReadTemperatures()]
    assert findings == [Finding(StepVerdict.OK, "thermometer", {"outlet": 3, "kelvin": "5.0"})]
    assert run(CommissioningStep("thermometer", 3), COLD, "", warm(5, 6))[1] == [
        Finding(StepVerdict.WRONG, "thermometer_elsewhere", {"at": 3, "of": 5, "kelvin": "5.0"})
    ]


def test_warming_goes_on_until_one_sensor_is_clearly_warmer():
    everywhere = {**warm(*range(1, 11), by=2_500), 3: 28_000, 4: 28_000}
    needs, findings = run(CommissioningStep("thermometer", 3), COLD, "", COLD, "", everywhere, "", warm(3, 4))
    assert [need.key for need in needs if isinstance(need, AskTechnician)] == [
        "thermometer", "thermometer_again", "thermometer_again"
    ]  # fmt: skip
    assert [f.code for f in findings] == ["thermometer"]
    assert found(CommissioningStep("thermometer", 3), COLD, *["", COLD] * 5) == [
        (StepVerdict.FAILED, "thermometer_cold")
    ]
    assert found(CommissioningStep("thermometer", 3), {**COLD, 3: None}) == [(StepVerdict.FAILED, "thermometer_dead")]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("c5t4", (StepVerdict.OK, "sticker")),
        ("http://127.0.0.1:8080/s/C5T4", (StepVerdict.OK, "sticker")),
        ("G4N8", (StepVerdict.WRONG, "sticker_elsewhere")),
        ("ZZZZ", (StepVerdict.WRONG, "sticker_unknown")),
        (SKIP, (StepVerdict.SKIPPED, "skipped")),
        ("", (StepVerdict.SKIPPED, "skipped")),
    ],
)
def test_sticker_is_the_outlets_own(typed, expected):
    assert found(CommissioningStep("sticker", 3), typed) == [expected]


@pytest.mark.parametrize("kind", ["self_test", "wiring", "contactor", "siren"])
def test_steps_with_people_may_be_skipped(kind):
    assert found(CommissioningStep(kind, 3), SKIP) == [(StepVerdict.SKIPPED, "skipped")]


def test_everything_that_is_asked_found_and_tried_has_words():
    source = inspect.getsource(steps)
    codes = set(re.findall(r'_(?:ok|wrong|failed|skipped|job_failed)\((?:job, )?"(\w+)"', source))
    codes |= set(re.findall(r'else "(\w+)", params', source)) | set(_PAIRS) | set(_PAIRS.values()) | {"skipped"}
    asked = set(re.findall(r'Prompt\("(\w+)"', source)) | set(re.findall(r'key = "(\w+)"', source)) | {"name"}
    assert len(codes) > 25
    words = wording("zh")
    needed = {f"finding.{code}" for code in codes} | {f"ask.{key}" for key in asked}
    needed |= {f"step.{kind}" for kind in steps._CONVERSATIONS} | {
        f"verdict.{verdict.value}" for verdict in StepVerdict
    }
    needed |= {f"job.kind.{kind.value}" for kind in JobKind} | {f"job.state.{state.value}" for state in JobState}
    assert {key for key in needed if key not in words} == set()
