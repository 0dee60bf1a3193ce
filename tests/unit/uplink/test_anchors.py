"""Heads that the fleet signed count only as they are, for their cabinet, with a key that it trusts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cabinet.records import UsageHead
from cabinet.uplink.anchors import Anchor, AnchorError, open_anchor, sign_anchor
from cabinet.uplink.orders import key_id

KEY = SigningKey(bytes(range(32)))
KEYS = {key_id(KEY.verify_key): KEY.verify_key}
ANCHOR = Anchor("c-one", 1_780_000_000_000, [UsageHead("2026-11-30", "SG-1", 7, "ab" * 32)])
SIGNED = sign_anchor(KEY, ANCHOR)


def test_signed_heads_are_read_back():
    assert open_anchor(SIGNED, KEYS, "c-one") == ANCHOR


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place, change):
    changed = bytearray(SIGNED)
    changed[place] ^= change
    try:
        found = open_anchor(bytes(changed), KEYS, "c-one")
    except AnchorError:
        return
    assert found == ANCHOR, "only the form of the file differs"


def test_another_cabinet_and_another_key_are_refused():
    with pytest.raises(AnchorError, match="heads of c-one"):
        open_anchor(SIGNED, KEYS, "c-two")
    with pytest.raises(AnchorError, match="not trusted"):
        open_anchor(SIGNED, {}, "c-one")
