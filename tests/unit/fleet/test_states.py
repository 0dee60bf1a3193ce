"""States and connections: the last one counts, a code belongs to one cabinet, old data goes by the month."""

import datetime

import msgspec
import pytest

from cabinet.errors import Refused
from cabinet.service.ports import StartChoice
from cabinet.uplink import messages
from cabinet.uplink.messages import MessageError, Online, OutletPlace, OutletReport
from cabinet_testing import fleet_scene as scene
from fleet import housekeeping, orders, states
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.states import CabinetOnline, CabinetState
from fleet.store import audit, cabinets, database, desired, outlet_codes, rows, usage
from fleet.store import orders as table
from fleet.store.audit import FleetAuditFilter


@pytest.fixture
def inside(url, run):
    """Run a test's body in one transaction, with a company and the cabinets c-one and c-two."""

    def run_inside(body):
        async def whole():
            async with await database.connect(url) as connection:
                company = await scene.add_company(connection)
                await scene.add_cabinet(connection, company, "c-one")
                await scene.add_cabinet(connection, company, "c-two")
                await body(connection, company)

        run(whole())

    return run_inside


def online(cabinet, *codes, key="", **fields):
    places = [OutletPlace(number, code) for number, code in enumerate(codes, 1)]
    return CabinetOnline(cabinet, Online(True, boot="b2", epoch="e2", usage_key=key, outlets=places), **fields)


async def row_of(connection, company, cabinet="c-one"):
    row = await cabinets.get(connection, company.company_id, cabinet)
    assert row is not None
    return row


def test_a_state_is_kept_with_its_sums(inside):
    async def body(connection, company):
        outlets = [
            OutletReport(1, "free"),
            OutletReport(2, "free", refusal="outlet_hot"),
            OutletReport(3, "in_use", refusal="outlet_busy", power_mw=150_000),
            OutletReport(4, "needs_service", refusal="fault_latched"),
            OutletReport(5, "unreachable", refusal="sensor_lost"),
        ]
        state = msgspec.structs.replace(scene.state_of(outlets, challenge="9"), facts=12, acked=10, feed_mw=150_000)
        await states.take_states(connection, [CabinetState("c-one", state)])
        row = await row_of(connection, company)
        assert (row.free_outlets, row.busy_outlets, row.bad_outlets, row.facts_waiting) == (1, 1, 2, 2)
        assert (row.challenge, row.feed_mw, row.present()) == ("9", 150_000, state)
        glance = await cabinets.glance(connection, company.company_id)
        assert (glance.cabinets, glance.free_outlets, glance.busy_outlets) == (2, 11, 1)

    inside(body)


def test_only_a_state_that_was_sent_now_says_that_a_cabinet_is_online(inside):
    async def body(connection, company):
        await connection.execute("UPDATE cabinet SET online = FALSE, heard = NULL")
        await states.take_states(connection, [CabinetState("c-one", scene.state_of(), retained=True)])
        assert not (await row_of(connection, company)).online
        await states.take_states(connection, [CabinetState("c-one", scene.state_of())])
        assert (await row_of(connection, company)).online
        await states.take_connections(connection, [CabinetOnline("c-one", Online(False))])
        assert not (await row_of(connection, company)).online

    inside(body)


def test_a_cabinet_that_fell_silent_without_its_will_is_offline(inside):
    async def body(connection, company):
        await connection.execute("UPDATE cabinet SET heard = now() - interval '12 minutes' WHERE id = 'c-one'")
        await states.mark_silent(connection)
        assert not (await row_of(connection, company)).online
        assert (await row_of(connection, company, "c-two")).online

    inside(body)


def test_a_code_of_another_cabinet_is_not_taken_from_it_and_raises_an_alarm(inside):
    async def body(connection, company):
        await states.take_connections(connection, [online("c-one", "C-ONE-2", "C-TWO-1", "C-ONE-1")])
        found = [(each.number, each.code) for each in await cabinets.outlets(connection, company.company_id, "c-one")]
        assert found == [(1, "C-ONE-2"), (3, "C-ONE-1")], "codes of one cabinet may change places"
        taken = await cabinets.by_code(connection, "C-TWO-1")
        assert taken is not None
        assert taken.cabinet == "c-two"
        alarms = await usage.log_alarms(connection, company.company_id)
        assert [(each.cabinet, each.kind, each.number) for each in alarms] == [("c-one", "code_taken", 2)]

    inside(body)


async def codes(connection, company, cabinet):
    return [each.code for each in await cabinets.outlets(connection, company.company_id, cabinet)]


async def log_kinds(connection, company):
    return sorted((each.kind, each.detail) for each in await usage.log_alarms(connection, company.company_id))


def test_a_cabinet_gets_no_code_that_was_not_given_to_it(inside):
    """A cabinet that was broken into would lead the residents of another to its own company."""

    async def body(connection, company):
        await states.take_connections(connection, [online("c-one", "C-ONE-1", "NEVER-GIVEN")])
        assert await codes(connection, company, "c-one") == ["C-ONE-1"]
        assert await cabinets.by_code(connection, "NEVER-GIVEN") is None
        assert await log_kinds(connection, company) == [("code_not_given", "NEVER-GIVEN")]
        await outlet_codes.give(connection, company.company_id, "c-one", ["NEVER-GIVEN"])
        await states.take_connections(connection, [online("c-one", "C-ONE-1", "NEVER-GIVEN")])
        assert await codes(connection, company, "c-one") == ["C-ONE-1", "NEVER-GIVEN"]
        with pytest.raises(Refused, match="code_taken"):
            await outlet_codes.give(connection, company.company_id, "c-two", ["NEVER-GIVEN"])

    inside(body)


def test_codes_given_before_the_first_connection_are_no_others_to_claim(inside):
    async def body(connection, company):
        other = await scene.add_company(connection)
        for cabinet in ("c-new", "c-next"):
            await cabinets.add(connection, other.company_id, other.site_id, cabinet, cabinet)
        await outlet_codes.give(connection, other.company_id, "c-new", ["NEW-1", "NEW-2"])
        await states.take_connections(connection, [online("c-next", "NEW-1", "C-ONE-1", "NEXT-1")])
        assert await codes(connection, other, "c-next") == ["NEXT-1"], "its first connection claims what is free"
        assert await log_kinds(connection, other) == [
            ("code_taken", "C-ONE-1 is of another company"), ("code_taken", "NEW-1 is of c-new")
        ]  # fmt: skip
        await states.take_connections(connection, [online("c-new", "NEW-1", "NEW-3")])
        assert await codes(connection, other, "c-new") == ["NEW-1"]
        await states.take_connections(connection, [online("c-next", "NEXT-1", "NEXT-2")])
        assert await codes(connection, other, "c-next") == ["NEXT-1"], "and no more after it"
        await outlet_codes.take_away(connection, other.company_id, "c-next", ["NEXT-1"])
        assert await codes(connection, other, "c-next") == []
        entries = await audit.entries(connection, other.company_id, FleetAuditFilter())
        assert [(each.action, each.subject, each.detail) for each in entries] == [("codes_given", "c-next", "NEXT-1")]

    inside(body)


def test_the_first_key_of_closings_stays_and_another_one_is_an_alarm(inside):
    async def body(connection, company):
        await states.take_connections(connection, [online("c-one", key="first")])
        await states.take_connections(connection, [online("c-one", key="second")])
        assert (await row_of(connection, company)).usage_key == "first"
        assert [each.kind for each in await usage.log_alarms(connection, company.company_id)] == ["other_key"]

    inside(body)


def test_unknown_and_revoked_cabinets_change_nothing(inside):
    async def body(connection, company):
        await cabinets.revoke(connection, company.company_id, "c-one")
        before = await row_of(connection, company)
        await states.take_connections(connection, [online("c-one", "X-1"), online("c-none", "X-2")])
        await states.take_states(
            connection,
            [CabinetState("c-one", scene.state_of(challenge="77")), CabinetState("c-none", scene.state_of())],
        )
        assert await row_of(connection, company) == before

    inside(body)


def test_versions_in_force_and_refusals_are_as_the_cabinet_reports_them(inside):
    async def body(connection, company):
        async def report(versions, rejected=None):
            state = msgspec.structs.replace(scene.state_of(), versions=versions, rejected=rejected or {})
            await states.take_states(connection, [CabinetState("c-one", state)])
            row = await desired.get(connection, company.company_id, "c-one", "sticker_text")
            assert row is not None
            return row.applied_version, row.applied_value, row.rejected

        async def wish(text):
            return await desired.set_value(connection, company.company_id, "c-one", "sticker_text", text)

        assert await wish("a") == 1
        assert await wish("a") == 1, "an equal value keeps its version"
        assert await report({}) == (0, None, None)
        assert await report({"sticker_text": 1}) == (1, "a", None)
        assert await wish("b") == 2
        assert await report({"sticker_text": 1}) == (1, "a", None)
        assert await report({"sticker_text": 1}, {"sticker_text": "too_long"}) == (1, "a", "too_long")
        assert await wish("c") == 3
        assert await report({"sticker_text": 3}) == (3, "c", None)
        assert await report({}) == (0, None, None), "another store: it is sent again"

    inside(body)


def test_an_order_that_runs_without_an_answer_is_accepted_and_one_that_was_given_back_is_to_stop(inside):
    async def body(connection, company):
        resident = await scene.add_resident(connection, company)
        rules = scene.config().orders
        order = await orders.place(
            connection, rules, company.company_id, resident, "C-ONE-3", StartChoice("full"), "tap"
        )  # fmt: skip
        book = await OrderBook.load(connection, [order.number])
        book.step(order.number, OrderStep.SEND, sent=book.now)
        await book.write(connection)
        running = scene.state_of([OutletReport(3, "in_use", session_id="s1", order=order.number)])
        await states.take_states(connection, [CabinetState("c-two", running)])
        assert (await read(connection, company, order)).state == "sent", "another cabinet cannot say so"
        await states.take_states(connection, [CabinetState("c-one", running)])
        assert (await read(connection, company, order)).state == "accepted"
        book = await OrderBook.load(connection, [order.number])
        book.refuse(order.number, "no_record")
        await book.write(connection)
        await states.take_states(connection, [CabinetState("c-one", running)])
        after = await read(connection, company, order)
        assert (after.state, after.stop_by, after.stop_wanted is not None) == ("given_back", "staff", True)

    async def read(connection, company, order):
        row = await table.get(connection, company.company_id, order.number)
        assert row is not None
        return row

    inside(body)


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"at":1}', messages.encode(scene.state_of(challenge="\0"))])
def test_a_state_that_cannot_be_kept_is_refused_when_it_is_read(payload):
    with pytest.raises(MessageError):
        messages.decode_state(payload)


def test_telemetry_is_thinned_to_one_in_five_minutes_and_whole_months_are_dropped(inside):
    async def body(connection, company):
        state = scene.state_of([OutletReport(1, "in_use", power_mw=150_000)])
        today = await rows.value(connection, "SELECT current_date")
        await housekeeping.make_partitions(connection, today)
        for _ in range(3):
            await states.take_states(connection, [CabinetState("c-one", state)])
        assert await rows.value(connection, "SELECT count(*) FROM telemetry") == 1
        await connection.execute("UPDATE cabinet SET telemetry_at = now() - interval '300 s'")
        await connection.execute("UPDATE telemetry SET at = at - interval '300 s'")
        await states.take_states(connection, [CabinetState("c-one", state)])
        assert await rows.value(connection, "SELECT count(*) FROM telemetry") == 2
        assert await rows.value(connection, "SELECT count(*) FROM telemetry_other") == 0
        old = housekeeping.month_after(today, -3)
        await housekeeping.make_partitions(connection, old)
        await connection.execute("INSERT INTO telemetry VALUES ('c-one', %s, 1, '{}', '{}', '{}')", (old,))
        assert await housekeeping.drop_partitions(connection, today, 2) == [f"telemetry_{old:%Y_%m}"]
        assert await rows.value(connection, "SELECT count(*) FROM telemetry") == 2
        assert await housekeeping.drop_partitions(connection, today, 2) == []

    inside(body)


@pytest.mark.parametrize(
    ("day", "months", "first"),
    [("2026-11-30", 0, "2026-11-01"), ("2026-11-30", 2, "2027-01-01"), ("2026-01-31", -1, "2025-12-01")],
)
def test_months_are_counted_over_the_end_of_a_year(day, months, first):
    found = housekeeping.month_after(datetime.date.fromisoformat(day), months)
    assert found == datetime.date.fromisoformat(first)


def test_upkeep_of_an_hour_leaves_what_waits_and_what_was_set_aside(inside):
    async def body(connection, company):
        await connection.execute(
            "INSERT INTO fact_position (cabinet, epoch, number, highest) VALUES ('c-one', 'e', 2, 5)"
        )
        await connection.execute(
            "INSERT INTO fact (cabinet, epoch, number, kind, body, received, refused)"
            " SELECT 'c-one', 'e', n, '', '', now() - interval '500 days', CASE WHEN n = 2 THEN 'bad' END"
            " FROM unnest(ARRAY[1, 2, 5]) AS n"
        )
        await housekeeping.hourly(connection, scene.config().retention)
        cursor = await connection.execute("SELECT number FROM fact ORDER BY number")
        assert await cursor.fetchall() == [(2,), (5,)]
        alarms = await usage.log_alarms(connection, company.company_id)
        assert [(each.kind, each.number) for each in alarms] == [("missing_fact", 3)]

    inside(body)
