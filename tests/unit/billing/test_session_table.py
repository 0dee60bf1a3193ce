"""The state table, walked pair by pair: nothing happens that is not written in it."""

import itertools

import pytest

from cabinet.billing.session import TABLE, IllegalStep, SessionStep, State, allowed, next_state

DIAGRAM = """
authorised       closed      -> waiting_for_load
authorised       ended       -> finished
waiting_for_load loaded      -> charging
waiting_for_load interrupted -> suspended
waiting_for_load ended       -> finished
charging         interrupted -> suspended
charging         ended       -> finished
suspended        closed      -> waiting_for_load
suspended        loaded      -> charging
suspended        ended       -> finished
finished         paid        -> settled
"""

ARROWS = {
    (State(before), SessionStep(step)): State(after)
    for before, step, _, after in (line.split() for line in DIAGRAM.strip().splitlines())
}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, SessionStep)), ids=lambda value: value.value)
def test_every_pair_is_a_transition_of_the_diagram_or_refused(state: State, step: SessionStep) -> None:
    if (state, step) in ARROWS:
        assert allowed(state, step)
        assert next_state(state, step) is ARROWS[state, step]
    else:
        assert not allowed(state, step)
        with pytest.raises(IllegalStep, match=f"a session that is {state.value} cannot be {step.value}"):
            next_state(state, step)


def test_every_state_has_its_row_and_settled_has_no_way_out() -> None:
    assert set(TABLE) == set(State)
    assert TABLE[State.SETTLED] == {}


@pytest.mark.parametrize("state", list(State), ids=lambda value: value.value)
def test_every_state_leads_to_settled(state: State) -> None:
    reached, border = {state}, [state]
    while border:
        for after in TABLE[border.pop()].values():
            if after not in reached:
                reached.add(after)
                border.append(after)
    assert State.SETTLED in reached


def test_the_only_way_into_settled_is_by_paying_what_is_finished() -> None:
    ways = [(state, step) for state, row in TABLE.items() for step, after in row.items() if after is State.SETTLED]
    assert ways == [(State.FINISHED, SessionStep.PAID)]
