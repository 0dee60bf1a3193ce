"""States of a payment and of a refund, and every step from one to another. Pure.

Money moves with the steps: `pay` books it from the platform into the payer's wallet, a wanted refund takes it from
there, and once the refund is done it is at the platform no more. Only the platform decides whether a payment was paid:
one that is closed here may still be paid there, and then goes back.
"""

import enum
import secrets

from cabinet.errors import CabinetError


class PaymentState(enum.StrEnum):
    CREATED = "created"  # committed before the platform is asked; it may know of it or not
    OFFERED = "offered"  # the platform waits for the person
    CLOSING = "closing"  # wanted no more; the platform may still take the money
    CLOSED = "closed"  # end: the platform takes no money for it
    PAID = "paid"  # the money is in the wallet
    CREDITED = "credited"  # end of a top-up: it stays there
    STARTED = "started"  # its charge is ordered
    SPENT = "spent"  # end: the charge took all of it
    RETURNING = "returning"  # some or all goes back to where it came from
    RETURNED = "returned"  # end: what had to go back is back


class PaymentStep(enum.StrEnum):
    OFFER = "offer"
    FAIL = "fail"  # the platform refused to offer it
    PAY = "pay"
    CLOSE = "close"
    CLOSED = "closed"
    CREDIT = "credit"
    START = "start"
    SPEND = "spend"
    GIVE_BACK = "give_back"
    RETURNED = "returned"


class RefundState(enum.StrEnum):
    WANTED = "wanted"  # the money is out of the wallet; the platform may have been asked
    SENT = "sent"  # the platform has accepted it
    DONE = "done"  # end
    FAILED = "failed"  # the platform cannot; a person decides


class RefundStep(enum.StrEnum):
    SEND = "send"
    DONE = "done"
    FAIL = "fail"
    AGAIN = "again"
    BY_HAND = "by_hand"  # paid out in cash


_S, _P = PaymentState, PaymentStep

TABLE: dict[tuple[PaymentState, PaymentStep], PaymentState] = {
    (_S.CREATED, _P.OFFER): _S.OFFERED,
    (_S.CREATED, _P.FAIL): _S.CLOSED,
    (_S.CREATED, _P.PAY): _S.PAID,  # the notification overtook the answer to the offer
    (_S.CREATED, _P.CLOSE): _S.CLOSING,
    (_S.OFFERED, _P.PAY): _S.PAID,
    (_S.OFFERED, _P.CLOSE): _S.CLOSING,
    (_S.CLOSING, _P.PAY): _S.PAID,  # it was paid in the meantime
    (_S.CLOSING, _P.CLOSED): _S.CLOSED,
    (_S.CLOSED, _P.PAY): _S.PAID,  # the platform took money all the same; it goes back
    (_S.PAID, _P.CREDIT): _S.CREDITED,
    (_S.PAID, _P.START): _S.STARTED,
    (_S.PAID, _P.GIVE_BACK): _S.RETURNING,  # no charge can start, or it was paid twice
    (_S.STARTED, _P.SPEND): _S.SPENT,
    (_S.STARTED, _P.GIVE_BACK): _S.RETURNING,  # the rest of the charge
    (_S.CREDITED, _P.GIVE_BACK): _S.RETURNING,  # the resident wants it back
    (_S.RETURNING, _P.GIVE_BACK): _S.RETURNING,
    (_S.RETURNING, _P.RETURNED): _S.RETURNED,
    (_S.RETURNED, _P.GIVE_BACK): _S.RETURNING,  # another part of a top-up
}

REFUND_TABLE: dict[tuple[RefundState, RefundStep], RefundState] = {
    (RefundState.WANTED, RefundStep.SEND): RefundState.SENT,
    (RefundState.WANTED, RefundStep.DONE): RefundState.DONE,
    (RefundState.WANTED, RefundStep.FAIL): RefundState.FAILED,
    (RefundState.SENT, RefundStep.DONE): RefundState.DONE,
    (RefundState.SENT, RefundStep.FAIL): RefundState.FAILED,
    (RefundState.FAILED, RefundStep.AGAIN): RefundState.WANTED,
    (RefundState.FAILED, RefundStep.DONE): RefundState.DONE,  # the platform did it after all
    (RefundState.FAILED, RefundStep.BY_HAND): RefundState.DONE,
}

OPEN = frozenset({PaymentState.CREATED, PaymentState.OFFERED, PaymentState.CLOSING})
"""The platform may still take money for it."""

RETURNABLE = frozenset({PaymentState.CREDITED, PaymentState.RETURNING, PaymentState.RETURNED})
"""A top-up of which money may go back."""

_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is read as another


class IllegalPaymentStep(CabinetError):
    """A step that the state does not allow; nothing was changed."""

    def __init__(self, state: str, step: str) -> None:
        super().__init__(f"a payment or refund that is {state} has no step {step}")


def next_payment_state(state: PaymentState, step: PaymentStep) -> PaymentState:
    """Return the state after `step`. Raises IllegalPaymentStep."""
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalPaymentStep(state, step) from None


def next_refund_state(state: RefundState, step: RefundStep) -> RefundState:
    """Return the state after `step`. Raises IllegalPaymentStep."""
    try:
        return REFUND_TABLE[state, step]
    except KeyError:
        raise IllegalPaymentStep(state, step) from None


def new_payment_number() -> str:
    """Return a random number of a payment, 88 bits, in letters and digits that both platforms take."""
    return "P" + "".join(secrets.choice(_LETTERS) for _ in range(18))
