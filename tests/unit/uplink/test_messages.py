"""Codec of the messages, and signature of those that go down."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cabinet.clock import WallTime
from cabinet.model import Fault
from cabinet.uplink import messages, orders, packing
from cabinet.uplink.messages import (
    MAX_MESSAGE,
    Ack,
    AlarmChanged,
    Fact,
    Facts,
    MessageError,
    OutletReport,
    StartOrder,
    StateReport,
)
from cabinet.uplink.orders import HEADER_BYTES, UntrustedMessage
from cabinet_testing.uplink_harness import start_order

KEY, OTHER = SigningKey(b"k" * 32), SigningKey(b"o" * 32)
TRUSTED = {orders.key_id(KEY.verify_key): KEY.verify_key}
SIGNED = orders.sign(KEY, start_order("cab-1"))


def state(outlets: int = 10) -> StateReport:
    rows = [OutletReport(n, "in_use", order="C1-20261130-0001", power_mw=234_567, cost_fen=12) for n in range(outlets)]
    return StateReport(WallTime(1_796_079_000_000, True), "boot", "epoch", "challenge-1", rows)


def test_signed_order_is_read_as_it_was():
    message = orders.open_signed(SIGNED, TRUSTED, "cab-1")
    assert isinstance(message, StartOrder)
    assert message == start_order("cab-1")


def test_any_flipped_bit_is_refused():
    """Format, key id, signature and body: all bits, one at a time."""
    for bit in range(len(SIGNED) * 8):
        forged = bytearray(SIGNED)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UntrustedMessage):
            orders.open_signed(bytes(forged), TRUSTED, "cab-1")


@given(st.integers(0, len(SIGNED) - 1), st.binary(max_size=20))
@settings(max_examples=200)
def test_shortened_lengthened_and_replaced_messages_are_refused(cut, extra):
    for forged in (SIGNED[:cut], SIGNED + b" " + extra, SIGNED[:cut] + extra + b"\0" + SIGNED[cut:], extra):
        with pytest.raises(UntrustedMessage):
            orders.open_signed(forged, TRUSTED, "cab-1")


def test_key_that_is_not_trusted_cannot_borrow_the_name_of_one_that_is():
    forged = orders.sign(OTHER, start_order("cab-1"))
    with pytest.raises(UntrustedMessage, match="not trusted"):
        orders.open_signed(forged, TRUSTED, "cab-1")
    renamed = SIGNED[: 1 + orders.KEY_ID_BYTES] + forged[1 + orders.KEY_ID_BYTES :]
    with pytest.raises(UntrustedMessage, match="does not match"):
        orders.open_signed(renamed, TRUSTED, "cab-1")


def test_order_for_another_cabinet_is_refused():
    with pytest.raises(UntrustedMessage, match="for cab-1"):
        orders.open_signed(SIGNED, TRUSTED, "cab-2")


def test_signature_of_another_purpose_is_none():
    """A key that signs something else by mistake signs no order with it."""
    body = messages.encode(start_order("cab-1"))
    header = SIGNED[: 1 + orders.KEY_ID_BYTES]
    with pytest.raises(UntrustedMessage):
        orders.open_signed(header + KEY.sign(header + body).signature + body, TRUSTED, "cab-1")


def test_signed_message_of_an_unknown_kind_is_refused_with_a_reason():
    class Reboot(msgspec.Struct, tag="reboot", tag_field="kind"):
        cabinet: str = "cab-1"

    with pytest.raises(MessageError, match="reboot"):
        orders.open_signed(orders.sign(KEY, Reboot()), TRUSTED, "cab-1")  # type: ignore[arg-type]


def test_message_over_the_limit_is_refused_before_it_is_verified():
    with pytest.raises(UntrustedMessage, match="known format"):
        orders.open_signed(SIGNED + b" " * MAX_MESSAGE, TRUSTED, "cab-1")
    assert len(SIGNED) > HEADER_BYTES


def test_unknown_fields_are_ignored():
    """A newer side may add some."""
    plain = messages.encode(Ack(cabinet="cab-1", epoch="e", number=3)).replace(b'"number":3', b'"number":3,"later":[1]')
    assert messages.decode_down(plain) == Ack(cabinet="cab-1", epoch="e", number=3)


def test_packed_state_is_read_like_a_plain_one_and_is_a_sixth_of_it():
    plain = messages.encode(state())
    packed = packing.pack(plain)
    assert messages.decode_state(plain) == messages.decode_state(packed) == state()
    assert len(packed) < len(plain) / 6
    print(f"state of ten outlets: {len(plain)} bytes, packed {len(packed)}")


def test_payload_packed_by_the_first_version_is_read_for_ever():
    """The dictionary is part of the protocol: another one could not read it."""
    recorded = bytes.fromhex(
        "78f90b8b3840c392472ccd0ccc2d0dc00067760153882c03a151f30d9cad6b88230b195021d821a244641f2567435d230323"
        "33434363035da0d70c9570642623631353337372b393a111f6d4466ae240e222d20744908c24822b5d18c0d385015aba0000"
        "6462afab"
    )
    assert messages.decode_state(recorded) == state(1)


def test_packed_facts_are_read_with_their_bodies_as_they_were():
    body = messages.encode_fact(AlarmChanged(1, Fault.OVERCURRENT, True, WallTime(1, True)))
    facts = Facts("epoch", [Fact(n, msgspec.Raw(body)) for n in range(1, 51)])
    read = messages.decode_facts(packing.pack(messages.encode(facts)))
    assert [(fact.number, bytes(fact.body)) for fact in read.facts] == [(n, body) for n in range(1, 51)]


def test_packed_message_that_is_damaged_endless_or_a_bomb_is_refused():
    packed = packing.pack(messages.encode(state()))
    bomb = packing.pack(b"{" + b" " * (50 * MAX_MESSAGE))
    assert len(bomb) < MAX_MESSAGE
    for payload in (packed[:-1], packed[:20], b"x", b"x\x9cnonsense", bomb, packing.pack(b" " * (MAX_MESSAGE + 1))):
        with pytest.raises(MessageError):
            messages.decode_state(payload)


@given(st.binary(max_size=200))
def test_no_payload_is_more_than_a_refusal(payload):
    for decode in (messages.decode_state, messages.decode_facts, messages.decode_online, messages.decode_down):
        for sent in (payload, packing.pack(payload)):
            with pytest.raises(MessageError):
                decode(sent)
