"""Messages recorded from earlier versions are taken as they were meant; a new form is recorded as a new set."""

from typing import get_args

import msgspec
import pytest

from cabinet.uplink import messages, orders, packing
from cabinet.uplink.messages import MessageError
from cabinet_testing import recorded_messages
from cabinet_testing.recorded_messages import CABINET, KEY

SETS = recorded_messages.sets()
ALL = {f"{folder.name}/{name}": each for folder in SETS for name, each in recorded_messages.read(folder).items()}


def contains(found, meant):
    """Return whether everything meant is found: a later version may have more fields."""
    if isinstance(meant, dict):
        return isinstance(found, dict) and all(key in found and contains(found[key], meant[key]) for key in meant)
    if isinstance(meant, list):
        return len(found) == len(meant) and all(map(contains, found, meant))
    return found == meant


@pytest.mark.parametrize("recorded", ALL.values(), ids=list(ALL))
def test_a_recorded_message_means_what_it_meant(recorded):
    assert contains(recorded_messages.meaning_of(recorded), recorded.meaning)


def test_the_newest_set_holds_the_messages_of_today():
    assert recorded_messages.is_newest(), (
        "the form of the messages has changed: cabinets and fleets of the version before are in use. Is it one that"
        " they ignore? Then record it: python -m cabinet_testing.recorded_messages. If not, raise messages.SCHEMA first"
    )


def test_another_form_is_noticed_and_a_set_is_never_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded_messages, "FOLDER", tmp_path)
    assert not recorded_messages.is_newest()
    recorded_messages.record(recorded_messages.next_set())
    assert recorded_messages.is_newest()
    with pytest.raises(FileExistsError):
        recorded_messages.record(recorded_messages.sets()[-1])
    today = recorded_messages.today()
    renamed = today["up-offline"].bytes.replace(b'"online"', b'"offline"')
    changed = msgspec.structs.replace(today["up-offline"], payload=renamed.hex())
    monkeypatch.setattr(recorded_messages, "today", lambda: today | {"up-offline": changed})
    assert not recorded_messages.is_newest()
    recorded_messages.record(recorded_messages.next_set())
    assert [folder.name for folder in recorded_messages.sets()] == ["fleet-messages-v1", "fleet-messages-v1.1"]


def test_every_kind_of_message_is_recorded():
    kinds = {each.meaning.get("kind") for each in ALL.values()}
    rows = [fact for each in ALL.values() if each.topic == "up/facts" for fact in each.meaning["facts"]]
    facts = {fact["body"]["kind"] for fact in rows}
    assert {tag_of(kind) for kind in messages.Down.__args__} <= kinds
    assert {tag_of(kind) for kind in messages.FactBody.__args__} == facts
    desired = {each.meaning["what"] for each in ALL.values() if each.meaning.get("kind") == "desired"}
    assert desired == set(get_args(messages.DesiredKind))
    answers = {each.meaning["outcome"] for each in ALL.values() if each.topic == "up/answer"}
    assert answers == set(get_args(messages.Outcome))


def tag_of(kind):
    return kind.__struct_config__.tag


def changed(recorded, **fields):
    """Return the recorded message with other fields, signed or packed as it was."""
    body = recorded_messages.without_packing(recorded.bytes)
    signed = recorded.topic.startswith("down/")
    plain = msgspec.json.decode(body[orders.HEADER_BYTES :] if signed else body) | fields
    payload = msgspec.json.encode(plain)
    if signed:
        header = bytes([orders.FORMAT]) + orders.key_id(KEY.verify_key).encode()
        payload = header + KEY.sign(orders._PURPOSE + header + payload).signature + payload
    elif recorded.bytes != body:
        payload = packing.pack(payload)
    return msgspec.structs.replace(recorded, payload=payload.hex())


VERSIONED = {name: each for name, each in ALL.items() if "v" in each.meaning}


@pytest.mark.parametrize("recorded", VERSIONED.values(), ids=list(VERSIONED))
def test_unknown_fields_are_ignored(recorded):
    more = changed(recorded, invented={"later": [1, 2]}, another=7)
    assert contains(recorded_messages.meaning_of(more), recorded.meaning)


AT_THE_LINK = {name: each for name, each in VERSIONED.items() if not each.topic.endswith("/enrol")}


@pytest.mark.parametrize("recorded", AT_THE_LINK.values(), ids=list(AT_THE_LINK))
def test_a_message_of_the_next_schema_is_refused_with_that_reason(recorded):
    for fields in ({}, {"cabinet": 17, "epoch": 17, "online": 17, "order": 17, "csr_pem": 17}):
        with pytest.raises(MessageError, match=f"of schema version {messages.SCHEMA + 1}"):
            recorded_messages.meaning_of(changed(recorded, v=messages.SCHEMA + 1, **fields))


@pytest.mark.parametrize("recorded", [each for each in AT_THE_LINK.values() if each.topic.startswith("down/")])
def test_an_unknown_kind_is_refused_with_that_reason(recorded):
    with pytest.raises(MessageError, match="Invalid value 'invented'"):
        recorded_messages.meaning_of(changed(recorded, kind="invented"))


def test_recorded_messages_are_for_the_recorded_cabinet_only():
    down = next(each for each in ALL.values() if each.topic == "down/order")
    with pytest.raises(orders.UntrustedMessage):
        orders.open_signed(down.bytes, {orders.key_id(KEY.verify_key): KEY.verify_key}, CABINET + "-2")
