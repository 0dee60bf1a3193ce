"""Property pages of the fleet: list, cabinet, usage log, files, residents, tariffs, staff and audit log."""

import asyncio
import csv
import io
import re
import tracemalloc
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from cabinet.errors import Refused
from cabinet.model import Fault
from cabinet.uplink.messages import OutletReport
from cabinet_testing import fleet_scene
from cabinet_testing.fleet_web import PASSWORD, FleetWeb, add_record, fleet_web, order_of, usage_record
from cabinet_testing.html_page import Page
from cabinet_testing.service_harness import QUICK
from fleet.store import staff, wallets

KEY = "k" * 32


async def add_records(at: FleetWeb, count: int, cabinet: str = "c-one") -> None:
    async with at.pool.connection() as connection:
        for number in range(1, count + 1):
            await add_record(connection, at.scene.company_id, cabinet, usage_record(number, 1, 44, 500))


async def audit_of(at: FleetWeb) -> list[tuple[str, str, str]]:
    async with at.pool.connection() as connection:
        cursor = await connection.execute("SELECT action, subject, detail FROM audit ORDER BY id")
        return await cursor.fetchall()


# --- sign-in ---------------------------------------------------------------------------------------------------------


async def test_staff_sign_in_by_name_and_password_and_out_again(url: str) -> None:
    async with fleet_web(url) as at:
        await at.office()
        browser = await at.browser()
        assert (await browser.get("/property")).headers["location"] == "/property/sign-in"
        wrong = await browser.send("/property/sign-in", company="Green Court", name="operator 0", password="guess")
        assert wrong.status_code == 401
        right = await browser.send("/property/sign-in", company="Green Court", name="operator 0", password=PASSWORD)
        assert right.headers["location"] == "/property"
        assert "operator 0" in (await browser.page("/property")).text
        await browser.send("/property/sign-out")
        assert (await browser.get("/property")).status_code == 303
        assert [entry[0] for entry in await audit_of(at)] == ["sign_in"]


async def test_two_companies_may_have_a_login_of_the_same_name(url: str) -> None:
    """Neither learns from it that the other has one."""
    async with fleet_web(url) as at:
        async with at.pool.connection() as connection:
            for scene, secret in ((at.scene, PASSWORD), (at.other, "another password")):
                await staff.add(connection, scene.company_id, "wang", QUICK.hash(secret), "operator")
            with pytest.raises(Refused, match="name_taken"):
                await staff.add(connection, at.other.company_id, "wang", "hash", "viewer")
        for company, secret, status in (
            ("Green Court", PASSWORD, 303), ("Green Court", "another password", 401), ("Blue Yard", PASSWORD, 401),
            ("Blue Yard", "another password", 303), ("Nowhere", PASSWORD, 401), ("", PASSWORD, 401),
        ):  # fmt: skip
            browser = await at.browser()
            answer = await browser.send("/property/sign-in", company=company, name="wang", password=secret)
            assert answer.status_code == status, (company, secret)
            if status == 401:
                assert company in answer.text, "it is not typed again"
        page = await (await at.browser()).get("/property/sign-in?company=Blue+Yard")
        assert 'value="Blue Yard"' in page.text
        async with at.pool.connection() as connection:
            await connection.execute("DELETE FROM sign_in_failure")
        for _ in range(5):
            await (await at.browser()).send("/property/sign-in", company="Blue Yard", name="wang", password="guess")
        answer = await (await at.browser()).send(
            "/property/sign-in", company="Green Court", name="wang", password=PASSWORD
        )
        assert answer.status_code == 303, "guessing at one company locks no login of another"


async def test_a_login_left_alone_ends(url: str) -> None:
    async with fleet_web(url) as at:
        office = await at.office()
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE login SET used = now() - interval '2 hours'")
        assert (await office.get("/property")).headers["location"] == "/property/sign-in"


# --- cabinets --------------------------------------------------------------------------------------------------------


async def test_list_is_searched_filtered_sorted_and_paged(url: str) -> None:
    async with fleet_web(url) as at:
        async with at.pool.connection() as connection:
            for number in range(120):
                await fleet_scene.add_cabinet(connection, at.scene, f"c-many-{number:03}", outlets=1)
        await at.show("c-many-007", online=False)
        await at.show("c-many-008", OutletReport(1, "in_use", "outlet_busy"))
        await at.show("c-many-009", fault=Fault.SMOKE)
        office = await at.office()
        first = await office.page("/property")
        assert "122" in first.text
        assert len(first.all("a", **{"class": "row-link"})) == 50
        links = {link["href"] for link in first.all("a", **{"class": "button"}) if "page=2" in link["href"]}
        second = await office.page(links.pop())
        assert {a["href"] for a in first.all("a", **{"class": "row-link"})}.isdisjoint(
            a["href"] for a in second.all("a", **{"class": "row-link"})
        )

        async def shown(query: str) -> list[str]:
            page = await office.page(f"/property?{query}")
            return [link["href"].rpartition("/")[2] for link in page.all("a", **{"class": "row-link"})]

        assert await shown("condition=offline") == ["c-many-007"]
        assert await shown("condition=full") == ["c-many-008"]
        assert await shown("condition=fault") == ["c-many-009"]
        assert await shown("find=many-11") == [f"c-many-11{digit}" for digit in range(10)]
        assert await shown("find=%25") == [], "a search word is no pattern"
        assert (await shown("sort=free"))[0] == "c-one"
        assert (await office.get("/property?sort=drop")).status_code == 400
        assert (await office.get("/property?page=0")).status_code == 400
        assert (await office.get("/property?page=9999")).status_code == 400


async def test_cabinet_page_shows_state_faults_log_and_desired_versions(url: str) -> None:
    async with fleet_web(url) as at:
        await at.show("c-one", OutletReport(2, "needs_service", "fault_latched", fault=Fault.SHORT_CIRCUIT))
        async with at.pool.connection() as connection:
            await connection.execute("INSERT INTO alarm VALUES ('c-one', 2, 'short_circuit', 1795500000000, NULL)")
            await connection.execute("INSERT INTO alarm VALUES ('c-one', 3, 'fault_of_next_year', 1795500000000, NULL)")
            await connection.execute(
                "INSERT INTO log_alarm (cabinet, epoch, kind, number, detail)"
                " VALUES ('c-one', 'epoch-1', 'rewrite', 7, '<b>x')"
            )
            await connection.execute(
                "INSERT INTO trip VALUES ('c-one', 'epoch-1', 3, 2, 'short_circuit', 1795500000000, 61200, NULL)"
            )
        office = await at.office()
        page = await office.page("/property/cabinets/c-one")
        for words in ("短路", "fault_of_next_year", "记录被重写", "<b>x", "61.2 A", "第 1 版", "已生效"):
            assert words in page.text, words
        assert "<b>x" not in (await office.get("/property/cabinets/c-one")).text, "escaped"


async def test_outlet_is_taken_out_of_service_by_a_version_and_audited(url: str) -> None:
    async with fleet_web(url) as at:
        office = await at.office()
        path = "/property/cabinets/c-one/out-of-service"
        assert (await office.send(path, outlet="2", note="门坏了")).status_code == 303
        assert (await office.send(path, outlet="3", note="x")).status_code == 303
        assert (await office.send(path, outlet="3", note="")).status_code == 303
        assert (await office.send(path, outlet="99", note="x")).status_code == 404
        async with at.pool.connection() as connection:
            cursor = await connection.execute("SELECT version, value FROM desired WHERE kind = 'out_of_service'")
            assert await cursor.fetchall() == [(3, {"2": "门坏了"})]
        assert [entry[1:] for entry in await audit_of(at) if entry[0] == "out_of_service"] == [
            ("c-one/2", "门坏了"), ("c-one/3", "x"), ("c-one/3", "-"),
        ]  # fmt: skip


async def test_staff_stop_a_charge_that_was_started_by_phone(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser(await at.resident())
        number = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        await at.charge(number)
        office = await at.office()
        assert number in (await office.get("/property/cabinets/c-one")).text
        assert (await office.send("/property/cabinets/c-two/stop", order=number)).status_code == 404
        assert (await office.send("/property/cabinets/c-one/stop", order=number)).status_code == 303
        async with at.pool.connection() as connection:
            cursor = await connection.execute("SELECT stop_by FROM charge_order")
            assert await cursor.fetchall() == [("staff",)]
        assert ("charge_stop", "c-one/3", number) in await audit_of(at)


# --- usage -----------------------------------------------------------------------------------------------------------


async def test_usage_log_is_summed_and_paged_without_a_gap(url: str) -> None:
    async with fleet_web(url) as at:
        await add_records(at, 65)
        await add_records(at, 5, "c-two")
        office = await at.office()
        path, seen = "/property/usage?from=&to=", []
        while path:
            page = await office.page(path)
            seen += [link["href"] for link in page.all("a", **{"class": "row-link"})]
            older = [a["href"] for a in page.all("a", **{"class": "button"}) if "before=" in a["href"]]
            path = older[0] if older else ""
        assert len(seen) == len(set(seen)) == 70
        assert "30.80" in page.text, "70 × 0.44"
        by = await office.page("/property/usage?from=&to=&by=cabinet")
        assert "28.60" in by.text, "65 × 0.44"
        one = await office.page("/property/usage?from=&to=&cabinet=c-two")
        assert len(one.all("a", **{"class": "row-link"})) == 5
        assert (await office.get("/property/usage?before=xx")).status_code == 400
        assert (await office.get("/property/usage?by=drop")).status_code == 400
        record = await office.page("/property/usage/c-one/epoch-1/17")
        assert "用电记录 17" in record.text
        assert record.all("a", href="/property/usage/c-one/epoch-1/18")
        assert (await office.get("/property/usage/c-one/epoch-1/999")).status_code == 404


async def test_files_have_every_record_with_its_cabinet(url: str, tmp_path: Path) -> None:
    async with fleet_web(url) as at:
        await add_records(at, 450)
        office = await at.office(language="en")
        text = (await office.get("/property/usage.csv?from=&to=")).text
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
        assert rows[0][:3] == ["Cabinet", "Site", "Number"]
        assert len(rows) == 451
        assert [row[2] for row in rows[1:]] == [str(number) for number in range(1, 451)]
        assert rows[1][:2] == ["c-one", "East gate"]
        path = tmp_path / "usage.xlsx"
        path.write_bytes((await office.get("/property/usage.xlsx?from=&to=")).content)
        sheet = openpyxl.load_workbook(path).active
        assert sheet is not None
        assert sheet.max_row == 451
        assert ("usage_export", "csv", "") in await audit_of(at)


async def ask_without_keeping(app: Any, path: str, query: bytes, cookies: str, send: Any) -> None:
    """Send a GET request; httpx would keep the whole answer."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("fleet.test", 80), "headers": [(b"host", b"fleet.test"), (b"cookie", cookies.encode())],
    }  # fmt: skip
    asked, over = False, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await over.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def passed_on(message: Any) -> None:
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            over.set()

    async with asyncio.timeout(60):
        await app(scope, receive, passed_on)


@pytest.mark.slow
async def test_a_long_file_needs_no_more_memory_than_a_short_one(url: str) -> None:
    async with fleet_web(url) as at:
        await add_records(at, 1)
        async with at.pool.connection() as connection:
            await connection.execute(
                "INSERT INTO usage_record SELECT cabinet, epoch, copy, company_id, site_id,"
                " session_id || copy, order_number, outlet, started_unix_ms, ended_unix_ms, energy_mwh,"
                " electricity_fen,"
                " service_fen, end_reason, body, previous_hash, record_hash"
                " FROM usage_record, generate_series(2, 30000) AS copy"
            )
        office = await at.office()
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in office.client.cookies.jar)
        tracemalloc.start()
        try:
            lines = 0

            async def send(message: Any) -> None:
                nonlocal lines
                lines += message.get("body", b"").count(b"\r\n")

            await ask_without_keeping(at.app, "/property/usage.csv", b"from=&to=", cookies, send)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert lines == 30_001
    assert peak_bytes < 8_000_000, "the file has twelve million"


# --- residents and money ---------------------------------------------------------------------------------------------


async def test_residents_are_found_masked_topped_up_once_and_audited(url: str) -> None:
    async with fleet_web(url) as at:
        resident_id = await at.resident(name="王芳", card="20001234")
        await at.resident(phone="13800138000", card=None, pin_hash=None)
        office = await at.office("accountant")
        listed = await office.page("/property/residents")
        assert "20001234" not in listed.text
        assert "王芳" not in listed.text
        assert "138****8000" in listed.text
        assert "****1234" in (await office.page("/property/residents?find=1234")).text
        path = f"/property/residents/{resident_id}"
        assert "确认充值" in Page((await office.send(f"{path}/top-up", amount="20", note="收据 7")).text).text
        for _ in range(2):
            fields = {"amount": "20", "note": "收据 7", "request_key": "r" * 16, "confirmed": "true"}
            assert (await office.send(f"{path}/top-up", **fields)).status_code == 303
        async with at.pool.connection() as connection:
            assert (await wallets.wallet(connection, at.scene.company_id, resident_id)).balance_fen == 3000
        page = await office.page(path)
        [undo] = re.findall(rf"{path}/undo/\d+", (await office.get(path)).text)[:1]
        assert "收据 7" in page.text
        assert (await office.send(undo)).status_code == 303
        async with at.pool.connection() as connection:
            assert (await wallets.wallet(connection, at.scene.company_id, resident_id)).balance_fen == 1000
        revealed = Page((await office.send(f"{path}/reveal")).text)
        assert "20001234" in revealed.text
        assert "王芳" in revealed.text
        assert (await office.send(f"{path}/block", blocked="true")).status_code == 303
        assert "新密码" in Page((await office.send(f"{path}/pin")).text).text
        actions = [entry[0] for entry in await audit_of(at)]
        assert actions == ["top_up", "top_up_undo", "resident_reveal", "resident_block", "resident_pin"]
        assert "收据 7" in (await office.page("/property/audit")).text
        assert (await office.send(f"{path}/erase", confirmed="true")).status_code == 403, "for operators"


async def test_a_resident_with_a_debt_or_a_charge_is_not_erased(url: str) -> None:
    async with fleet_web(url) as at:
        resident_id = await at.resident(fen=0)
        office = await at.office()
        assert (await office.send(f"/property/residents/{resident_id}/erase", confirmed="true")).status_code == 303
        assert (await office.get(f"/property/residents/{resident_id}")).status_code == 404


# --- tariffs ---------------------------------------------------------------------------------------------------------


async def test_tariff_is_checked_rolled_out_and_its_spread_shown(url: str) -> None:
    async with fleet_web(url) as at:
        office = await at.office()
        bad = await office.send("/property/tariffs/check", text="version = 3")
        assert bad.status_code == 400
        new = fleet_scene.TARIFF.replace("2026-11", "2026-12").replace("2020-01-01", "2026-12-01")
        good = await office.send("/property/tariffs/check", text=new)
        assert "2026-12" in Page(good.text).text
        rolled = await office.send("/property/tariffs/roll-out", text=new, cabinet="c-one", site="", only="false")
        assert rolled.status_code == 303
        page = await office.page("/property/tariffs")
        assert "还没有 1 个" in page.text
        async with at.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT version, jsonb_array_length(value) FROM desired WHERE kind = 'tariffs' ORDER BY cabinet"
            )
            assert await cursor.fetchall() == [(2, 2), (1, 1), (1, 1)]
            await connection.execute(
                "UPDATE desired SET rejected = '<script>no' WHERE cabinet = 'c-one' AND kind = 'tariffs'"
            )
        assert "被拒绝 1 个" in (await office.page("/property/tariffs")).text
        assert "<script>no" not in (await office.get("/property/tariffs")).text
        clash = await office.send("/property/tariffs/roll-out", text=new.replace('2026-12"', '2027"'), site="")
        assert clash.status_code == 400
        assert ("tariff_schedule", "2026-12", "c-one, 1") in await audit_of(at)


# --- staff -----------------------------------------------------------------------------------------------------------


async def test_logins_are_added_limited_to_site_groups_and_removed(url: str) -> None:
    async with fleet_web(url) as at:
        office = await at.office()
        added = Page((await office.send("/property/staff", name="Li Na", role="accountant")).text)
        [password] = re.findall(r"\b[A-Za-z0-9_-]{16}\b", added.text)
        async with at.pool.connection() as connection:
            row = await staff.by_name(connection, at.scene.company_id, "Li Na")
        assert row is not None
        assert (await office.send(f"/property/staff/{row.id}/groups", groups="north, south，north")).status_code == 303
        assert "north, south" in (await office.get("/property/staff")).text
        browser = await at.browser()
        assert (
            await browser.send("/property/sign-in", company="Green Court", name="li na", password=password)
        ).status_code in (303, 401)
        assert (
            await browser.send("/property/sign-in", company="Green Court", name="Li Na", password=password)
        ).status_code == 303
        assert not (await browser.page("/property")).all("a", **{"class": "row-link"}), "no site is in these groups"
        assert (await browser.get("/property/audit")).status_code == 403
        me = await office.send("/property/staff/1/groups", groups="north")
        assert me.status_code == 409, "one operator of all sites stays"
        assert (await office.send(f"/property/staff/{row.id}/role", role="viewer")).status_code == 303
        assert (await office.send(f"/property/staff/{row.id}/remove")).status_code == 303
        assert (await browser.get("/property")).status_code == 303, "signed out"
        actions = [entry[0] for entry in await audit_of(at)]
        assert actions == ["staff_add", "staff_groups", "sign_in", "staff_role", "staff_remove"]
