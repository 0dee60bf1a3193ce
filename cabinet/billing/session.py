"""Session states as a table of all permitted transitions. Pure; independent of storage and guard.

    authorised → waiting_for_load → charging ⇄ suspended → finished → settled

Money is held from `authorised` on and settled exactly once, on the way into `settled`. Every state has a path to
`settled`, also after a crash at any instruction; `settled` is final. Code that changes a session's state calls
`next_state`; there is no transition outside `TABLE`.
"""

import enum

from cabinet.errors import CabinetError


class State(enum.Enum):
    AUTHORISED = "authorised"  # money held; no request to the guard is known to have taken effect
    WAITING_FOR_LOAD = "waiting_for_load"  # outlet closed, no load drawn yet
    CHARGING = "charging"
    SUSPENDED = "suspended"  # was on, and opened without an end: the guard or the power failed
    FINISHED = "finished"  # open for good, not yet paid
    SETTLED = "settled"


class SessionStep(enum.Enum):
    """An event in the life of a session."""

    CLOSED = "closed"  # the outlet closed for it, no load known yet
    LOADED = "loaded"  # a load is drawn, for the first time or again
    INTERRUPTED = "interrupted"  # the guard no longer holds it, and did not end it
    ENDED = "ended"  # for any reason
    PAID = "paid"  # the hold became revenue and refund


TABLE: dict[State, dict[SessionStep, State]] = {
    State.AUTHORISED: {SessionStep.CLOSED: State.WAITING_FOR_LOAD, SessionStep.ENDED: State.FINISHED},
    State.WAITING_FOR_LOAD: {
        SessionStep.LOADED: State.CHARGING,
        SessionStep.INTERRUPTED: State.SUSPENDED,
        SessionStep.ENDED: State.FINISHED,
    },
    State.CHARGING: {SessionStep.INTERRUPTED: State.SUSPENDED, SessionStep.ENDED: State.FINISHED},
    State.SUSPENDED: {
        SessionStep.CLOSED: State.WAITING_FOR_LOAD,
        SessionStep.LOADED: State.CHARGING,
        SessionStep.ENDED: State.FINISHED,
    },
    State.FINISHED: {SessionStep.PAID: State.SETTLED},
    State.SETTLED: {},
}


class IllegalStep(CabinetError):
    """A step that the session's state has no transition for; the state is unchanged."""

    def __init__(self, state: State, step: SessionStep) -> None:
        super().__init__(f"a session that is {state.value} cannot be {step.value}")
        self.state = state
        self.step = step


def allowed(state: State, step: SessionStep) -> bool:
    return step in TABLE[state]


def next_state(state: State, step: SessionStep) -> State:
    """Return the state after `step`. Raises IllegalStep if the table has no such transition."""
    try:
        return TABLE[state][step]
    except KeyError:
        raise IllegalStep(state, step) from None
