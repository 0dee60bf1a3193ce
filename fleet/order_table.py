"""States of an order, and every step from one to another. Pure.

Money moves with the steps: `hold` sets it aside, `settle` splits it into revenue and refund by the cabinet's own bill,
`give_back` returns all of it. A bill that arrives after the money went back is booked as it is, against a named debt.
"""

import enum
import secrets

from cabinet.errors import CabinetError


class OrderState(enum.StrEnum):
    CREATED = "created"
    HELD = "held"  # the money is set aside; nothing was sent
    SENT = "sent"  # the cabinet may have it; committed before it is published
    ACCEPTED = "accepted"  # on the cabinet's disk, and the guard closed the outlet
    CHARGING = "charging"  # the fact of the started session is here
    SETTLED = "settled"  # the usage record is here and booked
    PAID_OUT = "paid_out"  # end: the rest is back in the wallet
    REFUSED = "refused"  # no charge, for the reason `refusal`
    GIVEN_BACK = "given_back"  # end: the whole hold is back in the wallet


class OrderStep(enum.StrEnum):
    HOLD = "hold"
    SEND = "send"
    ACCEPT = "accept"
    START = "start"
    SETTLE = "settle"
    PAY_OUT = "pay_out"
    REFUSE = "refuse"
    GIVE_BACK = "give_back"
    SETTLE_LATE = "settle_late"


TABLE: dict[tuple[OrderState, OrderStep], OrderState] = {
    (OrderState.CREATED, OrderStep.HOLD): OrderState.HELD,
    (OrderState.CREATED, OrderStep.REFUSE): OrderState.REFUSED,
    (OrderState.HELD, OrderStep.SEND): OrderState.SENT,
    (OrderState.HELD, OrderStep.REFUSE): OrderState.REFUSED,  # the cabinet is offline, or the tap is too old
    (OrderState.SENT, OrderStep.ACCEPT): OrderState.ACCEPTED,
    (OrderState.SENT, OrderStep.START): OrderState.CHARGING,  # the fact overtook the answer
    (OrderState.SENT, OrderStep.SETTLE): OrderState.SETTLED,  # both were lost, and the record came
    (OrderState.SENT, OrderStep.REFUSE): OrderState.REFUSED,  # by the cabinet, or dead: no answer within its time
    (OrderState.ACCEPTED, OrderStep.START): OrderState.CHARGING,
    (OrderState.ACCEPTED, OrderStep.SETTLE): OrderState.SETTLED,
    (
        OrderState.ACCEPTED,
        OrderStep.REFUSE,
    ): OrderState.REFUSED,  # it ended without a charge, or no record came for days
    (OrderState.CHARGING, OrderStep.SETTLE): OrderState.SETTLED,
    (OrderState.CHARGING, OrderStep.REFUSE): OrderState.REFUSED,
    (OrderState.SETTLED, OrderStep.PAY_OUT): OrderState.PAID_OUT,
    (OrderState.REFUSED, OrderStep.GIVE_BACK): OrderState.GIVEN_BACK,
    (OrderState.GIVEN_BACK, OrderStep.SETTLE_LATE): OrderState.SETTLED,  # the record came after the money went back
}

ENDS = frozenset({OrderState.PAID_OUT, OrderState.GIVEN_BACK})
STARTED = frozenset({OrderState.ACCEPTED, OrderState.CHARGING})

_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is read as another


class IllegalOrderStep(CabinetError):
    """A step that the state does not allow; nothing was changed."""

    def __init__(self, state: OrderState, step: OrderStep) -> None:
        super().__init__(f"an order that is {state} has no step {step}")


def next_state(state: OrderState, step: OrderStep) -> OrderState:
    """Return the state after `step`. Raises IllegalOrderStep."""
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalOrderStep(state, step) from None


def allowed(state: OrderState, step: OrderStep) -> bool:
    return (state, step) in TABLE


def new_number() -> str:
    """Return a random order number in four groups, 78 bits: not to be guessed, and readable on the phone."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(16))
    return "F" + "-".join(letters[start : start + 4] for start in range(0, 16, 4))
