"""A day without a link: the cabinet charges its own cards, and the fleet has all of it within a minute afterwards."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import psycopg

from cabinet.model import EndReason
from cabinet.service.accounts import admin
from cabinet_testing import fleet_site
from cabinet_testing.fleet_harness import FleetHarness
from cabinet_testing.fleet_scene import TARIFF
from cabinet_testing.fleet_site import FleetCabinet, FleetSite
from cabinet_testing.lacking import needs
from cabinet_testing.real_cabinet import wait_for
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness

CHARGES = 144  # one each ten minutes
MINUTES_BETWEEN = 10
WITHIN_S = 60.0
MAX_GROWTH_KB = 8 * 1024


def a_day_of_charges(folder: Path) -> Path:
    """Return a cabinet's database after a day of charges by its own cards, with nothing acknowledged."""
    harness = ServiceHarness(folder)
    FleetHarness(harness)

    async def charge_all_day() -> None:
        async with harness.running() as service:
            for number in range(CHARGES):
                resident_id = 1 + number % len(CARDS)
                await service.charges.start(resident_id, "C5T4", FULL, f"day-{number}")
                await harness.charge(service, 3, 60 * (MINUTES_BETWEEN - 1))
                harness.guard.end(3, EndReason.FULL)
                await harness.settle(service)

    asyncio.run(charge_all_day())
    return admin.database_path(harness.config)


def rows(cabinet: FleetCabinet, query: str) -> list[tuple[int, ...]]:
    with sqlite3.connect(f"file:{cabinet.state}/cabinet.db?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def memory_kb(cabinet: FleetCabinet, name: str) -> int:
    status = Path(f"/proc/{cabinet.processes[name].popen.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


def test_a_day_without_a_link_reaches_the_fleet_in_order_within_a_minute(tmp_path):
    needs(fleet_site.missing())
    database = a_day_of_charges(tmp_path)
    with fleet_site.temporary_folder() as folder:
        site = FleetSite(folder, safe=False)
        try:
            site.start()
            site.add_company(TARIFF)
            cabinet = FleetCabinet(folder / "cabinet-1", 1, site.enrol_url, site.ca, demo=True)
            cabinet.state.mkdir()
            shutil.copyfile(database, cabinet.state / "cabinet.db")
            site.add_cabinet(1, demo=True)
            before_kb = {name: memory_kb(site.cabinets[0], name) for name in ("service", "uplink")}
            wait_for("every fact", lambda: rows(cabinet, "SELECT facts - acked FROM uplink") == [(0,)], WITHIN_S)
            grown_kb = {name: memory_kb(site.cabinets[0], name) - kb for name, kb in before_kb.items()}
            with psycopg.connect(site.postgres.url("fleet")) as connection:
                facts = connection.execute("SELECT number FROM fact ORDER BY received, number").fetchall()
                records = connection.execute("SELECT number, record_hash FROM usage_record ORDER BY number").fetchall()
                alarms = connection.execute("SELECT * FROM log_alarm").fetchall()
            own = rows(cabinet, "SELECT number, record_hash FROM usage_record ORDER BY number")
        finally:
            site.stop()
    print(f"{len(facts)} facts; memory grew by {grown_kb} KB")
    assert [number for (number,) in facts] == list(range(1, len(facts) + 1))
    assert len(facts) >= 2 * CHARGES
    assert records == own
    assert len(records) == CHARGES
    assert alarms == []
    assert all(kb < MAX_GROWTH_KB for kb in grown_kb.values())
