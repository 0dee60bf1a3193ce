"""No record, count or existence of another company's is shown, and nothing of it is changed."""

import inspect

import pytest

from cabinet.errors import Refused
from cabinet.service.ports import StartChoice
from cabinet_testing import fleet_scene as scene
from cabinet_testing.fleet_facts import payload, simulated
from fleet import ingest, orders
from fleet.store import (
    audit,
    cabinets,
    companies,
    database,
    desired,
    facts,
    merchants,
    outlet_codes,
    payments,
    residents,
    staff,
    usage,
    wallets,
)
from fleet.store import orders as table
from fleet.store.audit import FleetAuditFilter
from fleet.store.usage import FleetUsageFilter

MODULES = (
    audit, cabinets, companies, desired, facts, merchants, outlet_codes, payments, residents, staff, table, usage,
    wallets,
)  # fmt: skip

# Functions that name no company, and the reason.
WITHOUT_COMPANY = {
    "companies.add": "makes one", "companies.everyone": "operator of the fleet", "companies.by_name": "its commands",
    "companies.get": "by its own id", "cabinets.by_code": "a printed code is public", "cabinets.everyone": "operator",
    "cabinets.company_of": "worker", "cabinets.challenge_of": "worker", "cabinets.not_revoked": "worker",
    "facts.add_log_alarm": "worker",
    "outlet_codes.write_stated": "worker",
    "merchants.everyone": "web and worker",
}  # fmt: skip


def test_every_function_of_the_stores_takes_the_company():
    without = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == module.__name__
        if "company_id" not in inspect.signature(function).parameters
    }
    assert without - WITHOUT_COMPANY.keys() <= {"pages.curve"}


@pytest.fixture
def two(url, run):
    """Run a body with the full company `own` and the company `other`, which is to see nothing of it."""

    def run_two(body):
        async def whole():
            async with await database.connect(url) as connection:
                own = await scene.add_company(connection, "Green Court")
                other = await scene.add_company(connection, "Blue Court")
                await scene.add_cabinet(connection, own, "c-one")
                resident = await scene.add_resident(connection, own)
                await scene.add_resident(connection, other)
                order = await orders.place(
                    connection, scene.config().orders, own.company_id, resident, "C-ONE-3", StartChoice("full"), "tap"
                )
                staff_id = await staff.add(connection, own.company_id, "wang", "hash", "operator")
                await audit.add(connection, own.company_id, "wang", "sign_in")
            async with database.pool(url, 2) as pool:
                sim = simulated(3)
                sim.facts[1] = b"17"
                await ingest.take_in(pool, [payload(sim, *sim.facts)])
            async with await database.connect(url) as connection:
                await connection.execute(
                    "INSERT INTO log_alarm (cabinet, epoch, kind, number) VALUES ('c-one', 'e', 'gap', 1)"
                )
                await body(connection, own.company_id, other.company_id, resident, order.number, staff_id)

        run(whole())

    return run_two


def test_nothing_of_another_company_is_read(two):
    async def body(connection, own, other, resident, number, staff_id):
        async def read(company):
            record = (await usage.newest(connection, own, FleetUsageFilter()))[0]
            money = await wallets.wallet(connection, company, resident)
            sums = await usage.sums(connection, company, FleetUsageFilter(cabinet="c-one"))
            return {
                "cabinet": await cabinets.get(connection, company, "c-one"),
                "cabinets": (await cabinets.listed(connection, company)).cabinets,
                "count": (await cabinets.listed(connection, company)).total,
                "glance": (await cabinets.glance(connection, company)).cabinets,
                "outlets": await cabinets.outlets(connection, company, "c-one"),
                "near": await cabinets.with_free_outlets(connection, company, 1),
                "order": await table.get(connection, company, number),
                "open": await table.open_of(connection, company, resident),
                "at": await table.open_at(connection, company, "c-one", 3),
                "orders": await table.of_resident(connection, company, resident),
                "unfinished": await table.unfinished(connection, company),
                "steps": await table.steps(connection, company, number),
                "resident": await residents.get(connection, company, resident),
                "row": await residents.list_row(connection, company, resident),
                "money": (money.balance_fen, money.held_fen) if money.balance_fen else None,
                "statement": await wallets.statement(connection, company, resident),
                "staff": await staff.get(connection, company, staff_id),
                "all staff": await staff.everyone(connection, company),
                "audit": [e for e in await audit.entries(connection, company, FleetAuditFilter()) if e.staff == "wang"],
                "names": [name for name in await audit.staff_names(connection, company) if name == "wang"],
                "records": await usage.newest(connection, company, FleetUsageFilter()),
                "record": await usage.record(connection, company, "c-one", record.epoch, record.number),
                "sums": sums.records,
                "days": await usage.sums_by(connection, company, FleetUsageFilter(), "day"),
                "stream": [r async for r in usage.all_records(connection, company, FleetUsageFilter())],
                "heads": await usage.heads(connection, company, "c-one"),
                "log alarms": await usage.log_alarms(connection, company),
                "desired": await desired.of_cabinet(connection, company, "c-one"),
                "kind": await desired.of_kind(connection, company, "tariffs"),
                "aside": await facts.set_aside(connection, company),
                "alarms": await facts.alarms(connection, company),
                "trips": await facts.trips(connection, company),
                "positions": await facts.positions(connection, company, "c-one"),
            }

        seen = await read(own)
        assert [name for name, value in seen.items() if not value] == [], "the test reads something of each"
        assert [name for name, value in (await read(other)).items() if value] == []

    two(body)


def test_nothing_of_another_company_is_changed(two):
    async def body(connection, own, other, resident, number, staff_id):
        refused = [
            lambda: cabinets.revoke(connection, other, "c-one"),
            lambda: cabinets.rename(connection, other, "c-one", "x"),
            lambda: residents.set_blocked(connection, other, resident, True),
            lambda: residents.set_pin(connection, other, resident, "x"),
            lambda: residents.set_group(connection, other, resident, "x"),
            lambda: residents.erase(connection, other, resident),
            lambda: wallets.top_up(connection, other, resident, 100, "k"),
            lambda: wallets.pay_out(connection, other, resident, 100, "k"),
            lambda: wallets.undo_top_up(connection, other, resident, 1),
            lambda: staff.set_role(connection, other, staff_id, "viewer"),
            lambda: staff.set_site_groups(connection, other, staff_id, ["x"]),
            lambda: staff.set_password(connection, other, staff_id, "x"),
            lambda: staff.remove(connection, other, staff_id),
            lambda: desired.set_value(connection, other, "c-one", "public_url", "x"),
            lambda: orders.want_stop(connection, other, number),
        ]
        for act in refused:
            async with connection.transaction(force_rollback=True):
                with pytest.raises(Refused):
                    await act()
        await cabinets.look(connection, other, "c-one")
        assert await (await connection.execute("SELECT count(*) FROM viewer")).fetchone() == (0,)

    two(body)


def test_a_resident_starts_nothing_at_a_cabinet_of_another_company(two):
    async def body(connection, own, other, resident, number, staff_id):
        stranger = (await residents.found(connection, other))[0].id
        with pytest.raises(Refused, match="unknown_code"):
            await orders.place(
                connection, scene.config().orders, other, stranger, "C-ONE-4", StartChoice("full"), "tap"
            )  # fmt: skip

    two(body)
