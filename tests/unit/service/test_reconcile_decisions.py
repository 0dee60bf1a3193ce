"""Table of decisions for a session and its outlet that disagree."""

import itertools

import msgspec
import pytest

from cabinet.billing.session import State
from cabinet.model import EndReason, Fault
from cabinet.service.charges.reconcile import Action, Decision, Situation, decide

CHARGING = Situation(
    state=State.CHARGING,
    session_id="ours",
    stop_reason=None,
    same_guard=False,
    outlet_session_id=None,
    fault=None,
    latched=False,
    away_s=60.0,
    since_boot_s=1000.0,
    resume_within_s=1800.0,
)

POWER_LOST = Decision(Action.SETTLE, EndReason.POWER_LOST)


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        pytest.param({"outlet_session_id": "ours"}, Decision(Action.GO_ON), id="the outlet holds it: go on"),
        pytest.param(
            {"outlet_session_id": "ours", "away_s": None, "same_guard": True},
            Decision(Action.GO_ON),
            id="the outlet holds it, however long nobody looked: go on",
        ),
        pytest.param(
            {"outlet_session_id": "ours", "state": State.AUTHORISED}, Decision(Action.GO_ON), id="closed, unconfirmed"
        ),
        pytest.param(
            {"outlet_session_id": "ours", "stop_reason": EndReason.STOPPED_BY_RESIDENT},
            Decision(Action.OPEN, EndReason.STOPPED_BY_RESIDENT),
            id="the outlet holds it and somebody wanted it ended: open",
        ),
        pytest.param({"state": State.AUTHORISED}, Decision(Action.CALL_OFF), id="never closed: nothing"),
        pytest.param(
            {"state": State.AUTHORISED, "latched": True, "fault": Fault.SHORT_CIRCUIT},
            Decision(Action.CALL_OFF),
            id="never closed, whatever else the outlet has: nothing",
        ),
        pytest.param(
            {"stop_reason": EndReason.STOPPED_BY_RESIDENT},
            Decision(Action.SETTLE, EndReason.STOPPED_BY_RESIDENT),
            id="wanted ended, and is: a stopped session never resumes",
        ),
        pytest.param({"outlet_session_id": "another"}, POWER_LOST, id="the outlet holds another: ours is over"),
        pytest.param(
            {"fault": Fault.SHORT_CIRCUIT, "latched": True},
            Decision(Action.SETTLE, EndReason.TRIPPED, Fault.SHORT_CIRCUIT),
            id="latched: tripped",
        ),
        pytest.param(
            {"fault": Fault.OUTLET_HOT},
            Decision(Action.SETTLE, EndReason.TRIPPED, Fault.OUTLET_HOT),
            id="a fault that is no mere start-up: tripped",
        ),
        pytest.param(
            {"fault": Fault.SENSOR_LOST}, Decision(Action.RESUME), id="a guard that starts knows no reading yet"
        ),
        pytest.param({"fault": Fault.GUARD_LATE}, Decision(Action.RESUME), id="a guard that starts may be late"),
        pytest.param({"same_guard": True}, POWER_LOST, id="the same guard lost it without a word"),
        pytest.param(
            {"same_guard": True, "state": State.SUSPENDED},
            Decision(Action.RESUME),
            id="suspended, this guard is to resume",
        ),
        pytest.param({"away_s": 1800.0}, Decision(Action.RESUME), id="away just short enough"),
        pytest.param({"away_s": 1800.1}, POWER_LOST, id="away too long"),
        pytest.param({"away_s": None}, POWER_LOST, id="away, nobody knows how long"),
        pytest.param(
            {"away_s": None, "since_boot_s": 179.0}, Decision(Action.WAIT), id="just booted: the time may yet be learnt"
        ),
        pytest.param({"away_s": 0.0}, Decision(Action.RESUME), id="the guard was back at once"),
        pytest.param(
            {"state": State.WAITING_FOR_LOAD}, Decision(Action.RESUME), id="interrupted while it waited for a load"
        ),
    ],
)
def test_decision(changes: dict[str, object], decision: Decision) -> None:
    assert decide(msgspec.structs.replace(CHARGING, **changes)) == decision


def test_there_is_a_decision_for_everything_and_only_held_sessions_go_on() -> None:
    for state, stop, same, holds, fault, latched, away, boot in itertools.product(
        [state for state in State if state not in (State.FINISHED, State.SETTLED)],
        [None, EndReason.STOPPED_BY_STAFF],
        [True, False],
        [None, "ours", "another"],
        [None, *Fault],
        [True, False],
        [None, 0.0, 10_000.0],
        [1.0, 1000.0],
    ):
        situation = Situation(
            state=state,
            session_id="ours",
            stop_reason=stop,
            same_guard=same,
            outlet_session_id=holds,
            fault=fault,
            latched=latched,
            away_s=away,
            since_boot_s=boot,
            resume_within_s=1800.0,
        )
        decision = decide(situation)
        assert (decision.action in (Action.GO_ON, Action.OPEN)) == (holds == "ours")
        assert (decision.action is Action.SETTLE) == (
            decision.reason is not None and decision.action is not Action.OPEN
        )
        if latched or stop is not None:
            assert decision.action is not Action.RESUME
