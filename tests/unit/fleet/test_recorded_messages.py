"""Messages that cabinets of earlier versions sent, replayed against today's fleet: message → row."""

import msgspec
import pytest

from cabinet.service.ports import StartChoice
from cabinet.uplink import messages
from cabinet_testing import fleet_scene as scene
from cabinet_testing import recorded_messages
from cabinet_testing.recorded_messages import CABINET, CHALLENGE, EPOCH, LATER, NOON, ORDER, REFUSED_ORDER, SESSION
from fleet import ingest, orders, sending, states, worker
from fleet.broker_connection import Message
from fleet.ingest import Incoming
from fleet.store import database, facts, outlet_codes, rows, usage, wallets
from fleet.store import orders as order_rows

SETS = recorded_messages.sets()


class Replay:
    """A fleet that knows the recorded cabinet and its two orders; `take` is what the worker does with a message."""

    def __init__(self, url, folder):
        self.recorded = recorded_messages.read(folder)
        self._url = url

    async def take(self, name):
        payload = self.recorded[name].bytes
        kind = self.recorded[name].topic.removeprefix("up/")
        async with database.pool(self._url, 2) as pool:
            if kind == "facts":
                return await ingest.take_in(pool, [Incoming(CABINET, payload)])
            async with pool.connection() as connection:
                if kind == "answer":
                    await sending.take_answers(connection, [(CABINET, messages.decode_answer(payload))])
                else:
                    await worker._write(connection, [Message(CABINET, kind, payload, False)])

    async def one(self, sql):
        async with await database.connect(self._url) as connection:
            cursor = await connection.execute(sql.encode())
            return await cursor.fetchone()


async def ordered(url, replay, monkeypatch):
    """Place the two orders and send them; return the company and its residents."""
    numbers = iter((ORDER, REFUSED_ORDER))
    monkeypatch.setattr(orders, "new_number", lambda: next(numbers))
    async with await database.connect(url) as connection:
        company = await scene.add_company(connection)
        await scene.add_cabinet(connection, company, CABINET, outlets=2)
        own = await outlet_codes.given(connection, company.company_id, CABINET)
        await outlet_codes.take_away(connection, company.company_id, CABINET, own)  # its first connection
    await replay.take("up-online")
    async with await database.connect(url) as connection:
        people = [await scene.add_resident(connection, company, 1000) for _ in range(2)]
        for person, code in zip(people, ("RECA", "RECB"), strict=True):
            rules = scene.config().orders
            await orders.place(connection, rules, company.company_id, person, code, StartChoice("full"), code)
    async with await database.connect(url) as connection:
        assert [order.order for order in (await sending.to_start(connection)).orders] == [ORDER, REFUSED_ORDER]
    return company, people


@pytest.mark.parametrize("folder", SETS, ids=[folder.name for folder in SETS])
def test_the_messages_of_a_charge_give_the_rows_that_they_gave(url, run, monkeypatch, folder):
    async def body():
        replay = Replay(url, folder)
        company, people = await ordered(url, replay, monkeypatch)
        for name in ("up-answer-accepted", "up-answer-refused", "up-answer-unknown", "up-state"):
            await replay.take(name)
        assert await replay.one(
            "SELECT online, software, epoch, boot, challenge, feed_mw, feed_limit_mw, free_outlets, busy_outlets,"
            " bad_outlets, problems, facts_waiting FROM cabinet"
        ) == (True, "0.1", EPOCH, "recorded-boot", CHALLENGE, 152_000, 3_000_000, 0, 1, 1, 1, 5)
        assert await replay.one("SELECT array_agg((number, code, max_power_w)::text ORDER BY number) FROM outlet") == (
            ["(1,RECA,600)", "(2,RECB,1000)"],
        )
        done = await replay.take("up-facts")
        assert [(each.epoch, each.number) for each in done] == [(EPOCH, 7)]
        await replay.take("up-answer-ended")
        assert await replay.take("up-facts") == done, "sent again, as after a lost acknowledgement"

        async with await database.connect(url) as connection:
            assert await facts.set_aside(connection, company.company_id) == []
            assert await usage.log_alarms(connection, company.company_id) == []
            charged = await order_rows.get(connection, company.company_id, ORDER)
            refused = await order_rows.get(connection, company.company_id, REFUSED_ORDER)
            assert charged is not None
            assert refused is not None
            assert (charged.state, charged.session_id, charged.usage_number, charged.cost_fen, charged.refund_fen) == (
                "paid_out", SESSION, 1, 69, charged.held_fen - 69
            )  # fmt: skip
            assert (refused.state, refused.refusal) == ("given_back", "outlet_busy")
            money = [await wallets.wallet(connection, company.company_id, person) for person in people]
            assert [each.balance_fen for each in money] == [931, 1000]
            assert await wallets.check(connection, company.company_id) == []
            assert (
                await rows.value(connection, "SELECT record_hash FROM usage_record")
                == (replay.recorded["up-facts"].meaning["facts"][1]["body"]["record"]["record_hash"])
            )
            assert await rows.value(connection, "SELECT month FROM usage_closing") == "2026-05"
            (alarm,) = await facts.alarms(connection, company.company_id, lasting=False)
            assert (alarm.outlet, alarm.fault, alarm.raised_unix_ms, alarm.cleared_unix_ms) == (
                2, "outlet_hot", NOON.unix_ms, LATER.unix_ms
            )  # fmt: skip
            (trip,) = await facts.trips(connection, company.company_id)
            assert (trip.outlet, trip.fault, trip.peak_ma, trip.session_id) == (2, "overpower", 30_000, SESSION)
        await replay.take("up-offline")
        assert await replay.one("SELECT online FROM cabinet") == (False,)

    run(body())


async def with_bodies(url, change):
    """Take the newest set's facts after `change` of their message; return the acknowledgements and what is shown."""
    payload = recorded_messages.without_packing(recorded_messages.read(SETS[-1])["up-facts"].bytes)
    message = msgspec.json.decode(payload)
    change(message)
    async with await database.connect(url) as connection:
        company = await scene.add_company(connection)
        await scene.add_cabinet(connection, company, CABINET, outlets=2)
    async with database.pool(url, 2) as pool:
        done = await ingest.take_in(pool, [Incoming(CABINET, msgspec.json.encode(message))])
        async with pool.connection() as connection:
            aside = await facts.set_aside(connection, company.company_id)
            alarms = await usage.log_alarms(connection, company.company_id)
    return done, {each.number: each.refused for each in aside}, [(each.kind, each.detail) for each in alarms]


def test_a_fact_of_an_unknown_kind_is_set_aside_with_that_reason_and_the_others_are_taken(url, run):
    def change(message):
        message["facts"][4]["body"]["kind"] = "invented"

    done, aside, alarms = run(with_bodies(url, change))
    assert [each.number for each in done] == [7]
    assert "invented" in aside[5]
    assert set(aside) == {1, 2, 3, 5}, "the others are of orders that this fleet never made"
    assert alarms == []


def test_facts_of_the_next_schema_are_refused_with_an_alarm_and_taken_once_the_fleet_is_updated(url, run, monkeypatch):
    def change(message):
        message["v"] = messages.SCHEMA + 1

    done, aside, alarms = run(with_bodies(url, change))
    assert (done, aside) == ([], {}), "not acknowledged: the cabinet keeps them"
    assert alarms == [("unreadable", "of schema version 2: 1 to 1 are taken")]
    monkeypatch.setattr(messages, "SCHEMA", 2)

    async def after_the_update():
        payload = recorded_messages.read(SETS[-1])["up-facts"].bytes
        newer = msgspec.json.decode(recorded_messages.without_packing(payload)) | {"v": 2}
        async with database.pool(url, 2) as pool:
            for body in (msgspec.json.encode(newer), payload):  # and of a cabinet one version behind
                done = await ingest.take_in(pool, [Incoming(CABINET, body)])
                assert [each.number for each in done] == [7]

    run(after_the_update())


@pytest.mark.parametrize("name", ["up-online", "up-state"])
def test_a_state_of_the_next_schema_changes_nothing_and_is_an_alarm(url, run, name):
    async def body():
        recorded = recorded_messages.read(SETS[-1])[name]
        newer = msgspec.json.decode(recorded_messages.without_packing(recorded.bytes)) | {"v": messages.SCHEMA + 1}
        async with await database.connect(url) as connection:
            company = await scene.add_company(connection)
            await scene.add_cabinet(connection, company, CABINET, outlets=2)
            before = await rows.value(connection, "SELECT row_to_json(cabinet) FROM cabinet")
            message = Message(CABINET, name.removeprefix("up-"), msgspec.json.encode(newer), False)
            await worker._write(connection, [message, message])
            assert await rows.value(connection, "SELECT row_to_json(cabinet) FROM cabinet") == before
            alarms = await usage.log_alarms(connection, company.company_id)
            assert [(each.kind, each.detail) for each in alarms] == [
                ("unreadable", "of schema version 2: 1 to 1 are taken")
            ]
            await states.report_unreadable(connection, {"not-known": "of schema version 2"})

    run(body())
