"""The tables of payments and refunds: no state is a trap, and money that is paid ends somewhere."""

import itertools
import re

import pytest

from fleet.money import payment_table
from fleet.money.payment_table import (
    OPEN,
    REFUND_TABLE,
    TABLE,
    IllegalPaymentStep,
    PaymentState,
    PaymentStep,
    RefundState,
    RefundStep,
    next_payment_state,
    next_refund_state,
)

PAYMENT_ENDS = {PaymentState.CLOSED, PaymentState.CREDITED, PaymentState.SPENT, PaymentState.RETURNED}


def reachable(table, state):
    found, new = {state}, {state}
    while new:
        new = {after for (before, _), after in table.items() if before in new} - found
        found |= new
    return found


def test_every_state_is_reached_and_leads_to_an_end():
    assert reachable(TABLE, PaymentState.CREATED) == set(PaymentState)
    assert reachable(REFUND_TABLE, RefundState.WANTED) == set(RefundState)
    for state in PaymentState:
        assert reachable(TABLE, state) & PAYMENT_ENDS, state
    for refund_state in RefundState:
        assert RefundState.DONE in reachable(REFUND_TABLE, refund_state), refund_state


def test_whatever_was_not_paid_can_still_be_paid_and_whatever_was_paid_not_again():
    may_pay = {state for state, step in TABLE if step is PaymentStep.PAY}
    assert may_pay == OPEN | {PaymentState.CLOSED}
    assert not reachable(TABLE, PaymentState.PAID) & may_pay, "paid once"


def test_refund_that_is_done_stays_done():
    assert [step for state, step in REFUND_TABLE if state is RefundState.DONE] == []


@pytest.mark.parametrize(("state", "step"), list(itertools.product(PaymentState, PaymentStep)))
def test_step_that_is_not_in_the_table_is_refused(state, step):
    if (state, step) in TABLE:
        assert next_payment_state(state, step) is TABLE[state, step]
    else:
        with pytest.raises(IllegalPaymentStep):
            next_payment_state(state, step)


@pytest.mark.parametrize(("state", "step"), list(itertools.product(RefundState, RefundStep)))
def test_step_of_a_refund_that_is_not_in_the_table_is_refused(state, step):
    if (state, step) in REFUND_TABLE:
        assert next_refund_state(state, step) is REFUND_TABLE[state, step]
    else:
        with pytest.raises(IllegalPaymentStep):
            next_refund_state(state, step)


def test_number_is_one_that_both_platforms_take():
    numbers = {payment_table.new_payment_number() for _ in range(1000)}
    assert len(numbers) == 1000
    assert all(re.fullmatch(r"[0-9A-Z]{6,32}", number) for number in numbers)
