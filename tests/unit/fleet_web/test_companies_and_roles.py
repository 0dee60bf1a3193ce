"""Nothing of another company is there, on any route: not a record, not a count, not that it exists."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cabinet.uplink.messages import OutletReport
from cabinet_testing import fleet_scene
from cabinet_testing.fleet_web import FleetBrowser, FleetWeb, add_record, fleet_web, order_of, usage_record
from fleet.store import companies, merchants, rows
from fleet.store import staff as staff_rows
from fleet.store.database import Connection

KEY = "k" * 32
PUBLIC = {"/", "/s/{code}", "/q/{code}", "/sign-in", "/healthz", "/robots.txt", "/static/{name}", "/preferences",
          "/pay/payer/{platform}", "/pay/notify/{platform}/{account}"}  # fmt: skip
"""Paths that show nothing of a company but what is printed on its outlets."""

FIELDS = {
    "amount": "20", "note": "x", "request_key": "r" * 16, "confirmed": "true", "blocked": "true", "role": "viewer",
    "groups": "", "outlet": "1", "order": "", "text": fleet_scene.TARIFF, "cabinet": "", "site": "", "only": "true",
    "name": "a new login", "kind": "full",
}  # fmt: skip


async def populate(at: FleetWeb) -> dict[str, str]:
    """Fill the first company; return the values of its placeholders."""
    async with at.pool.connection() as connection:
        await connection.execute(
            "UPDATE site SET name = 'Secret gate', address = 'Secret road 1' WHERE company_id = %s",
            (at.scene.company_id,),
        )
        await connection.execute("UPDATE company SET name = 'Secret company' WHERE id = %s", (at.scene.company_id,))
        await add_record(connection, at.scene.company_id, "c-one", usage_record(1, 1, 44, 500))
        await connection.execute("INSERT INTO alarm VALUES ('c-one', 1, 'smoke', 1795500000000, NULL)")
        staff_id = await staff_rows.add(connection, at.scene.company_id, "Secret person", "x", "operator")
    resident_id = await at.resident(name="Secret resident", card="77777777")
    phone = await at.browser(resident_id)
    number = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
    async with at.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT min(id) FROM ledger_transaction WHERE company_id = %s", (at.scene.company_id,)
        )
        row = await cursor.fetchone()
        assert row is not None
        difference = await payment_of(connection, at, resident_id)
    return {
        "cabinet": "c-one", "epoch": "epoch-1", "record_number": "1", "resident_id": str(resident_id),
        "staff_id": str(staff_id), "transaction": str(row[0]), "session_id": number, "code": "C-ONE-3",
        "payment_number": "PSECRET", "difference": str(difference),
    }  # fmt: skip


async def payment_of(connection: Connection, at: FleetWeb, resident_id: int) -> int:
    """Add an account, an open payment and a difference of the first company; return the difference's id."""
    account = await merchants.add(connection, at.scene.company_id, "wechat", "secret merchant", "app", {}, b"x")
    await connection.execute(
        "INSERT INTO payment (number, company_id, resident_id, account_id, request_key, purpose, way, amount_fen,"
        " state, expires) VALUES ('PSECRET', %s, %s, %s, 'k', 'wallet', 'browser', 500, 'offered', now())",
        (at.scene.company_id, resident_id, account),
    )
    return int(
        await rows.value(
            connection,
            "INSERT INTO payment_difference (company_id, account_id, day, kind, payment_number, ours_fen, theirs_fen)"
            " VALUES (%s, %s, current_date, 'unknown_payment', 'PSECRET2', 0, 700) RETURNING id",
            (at.scene.company_id, account),
        )
    )


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route, with its placeholders."""
    for route in app.routes:
        for method in sorted({"GET", "POST"} & set(getattr(route, "methods", ()))):
            yield method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)


async def ask(browser: FleetBrowser, method: str, path: str, order: str = "") -> httpx.Response:
    if method == "POST":
        return await browser.send(path, **(FIELDS | {"order": order}))
    return await browser.get(path)


async def test_every_route_with_another_companys_ids_is_as_with_ids_that_do_not_exist(url: str) -> None:
    async with fleet_web(url) as at:
        theirs = await populate(at)
        unknown = {
            "cabinet": "c-none", "epoch": "epoch-9", "record_number": "9", "resident_id": "99999", "staff_id": "99999",
            "transaction": "99999", "session_id": "FAAAA-AAAA-AAAA-AAAA", "code": "ZZZZ",
            "payment_number": "PNONE", "difference": "99999",
        }  # fmt: skip
        office = await at.office("operator", at.other)
        stranger = await at.browser(await at.resident(at.other))
        tried = 0
        for method, path in routes(at.app):
            if path in PUBLIC or "{" not in path:
                continue
            browser = office if path.startswith("/property") else stranger
            if path.startswith("/s/"):
                continue  # the printed code is public; see below
            real = await ask(browser, method, path.format(**theirs), theirs["session_id"])
            none = await ask(browser, method, path.format(**unknown), unknown["session_id"])
            assert real.status_code == none.status_code == 404, (method, path, real.status_code, none.status_code)
            same = [
                answer.text.replace(path.format(**values), "?") for values, answer in ((theirs, real), (unknown, none))
            ]
            assert same[0] == same[1], (method, path)
            tried += 1
        assert tried >= 18, "the walk found the routes"
        async with at.pool.connection() as connection:
            cursor = await connection.execute("SELECT state, stop_wanted FROM charge_order")
            assert await cursor.fetchall() == [("accepted", None)]
            assert await rows.value(connection, "SELECT state FROM payment") == "offered"
            assert await rows.value(connection, "SELECT closed FROM payment_difference") is None
            cursor = await connection.execute("SELECT role, removed FROM staff WHERE name = 'Secret person'")
            assert await cursor.fetchall() == [("operator", None)]
            cursor = await connection.execute(
                "SELECT count(*) FROM audit WHERE company_id = %s", (at.scene.company_id,)
            )
            assert await cursor.fetchall() == [(0,)]


async def test_no_list_or_file_has_anything_of_another_company(url: str) -> None:
    async with fleet_web(url) as at:
        theirs = await populate(at)
        office = await at.office("operator", at.other)
        stranger = await at.browser(await at.resident(at.other))
        tried = 0
        for method, path in routes(at.app):
            if method != "GET" or "{" in path or path in PUBLIC:
                continue
            browser = office if path.startswith("/property") else stranger
            for query in (
                "",
                "?from=&to=",
                "?from=&to=&cabinet=c-one",
                f"?resident={theirs['resident_id']}",
                "?find=Secret",
                "?condition=fault",
                "?from=&to=&by=cabinet",
                f"?site={at.scene.site_id}",
            ):
                answer = await browser.get(path + query)
                assert answer.status_code in (200, 303), (path, query)
                for secret in ("Secret", "77777777", "smoke", theirs["session_id"]):
                    assert secret not in answer.text.replace("find=Secret", "").replace('value="Secret"', ""), (
                        path,
                        query,
                    )
                rows = re.findall("c-one|c-two", re.sub(r"cabinet=c-one|value=\"c-one\"", "", answer.text))
                assert rows == [], (path, query)
            tried += 1
        assert tried >= 9
        glance = await office.page("/property")
        assert "共 1 页，1 个" in glance.text, "its own cabinet is the only one counted"
        sums = await office.page("/property/usage?from=&to=")
        assert "0.44" not in sums.text


async def test_the_printed_code_shows_the_outlet_and_no_more(url: str) -> None:
    async with fleet_web(url) as at:
        await populate(at)
        stranger = await at.browser(await at.resident(at.other))
        text = (await stranger.get("/s/C-ONE-1")).text
        assert "Secret gate" in text, "the site is on the sticker"
        for secret in ("Secret resident", "Secret person", "77777777"):
            assert secret not in text


OFFICE = {  # path → roles that may
    "GET /property": "viewer accountant operator",
    "GET /property/cabinets/c-one": "viewer accountant operator",
    "POST /property/cabinets/c-one/out-of-service": "operator",
    "POST /property/cabinets/c-one/stop": "operator",
    "GET /property/usage": "viewer accountant operator",
    "GET /property/usage.csv": "viewer accountant operator",
    "GET /property/usage/c-one/epoch-1/1": "viewer accountant operator",
    "GET /property/residents": "accountant operator",
    "GET /property/residents/{resident_id}": "accountant operator",
    "POST /property/residents/{resident_id}/top-up": "accountant operator",
    "POST /property/residents/{resident_id}/reveal": "accountant operator",
    "POST /property/residents/{resident_id}/block": "accountant operator",
    "POST /property/residents/{resident_id}/pin": "accountant operator",
    "POST /property/residents/{resident_id}/undo/{transaction}": "accountant operator",
    "POST /property/residents/{resident_id}/erase": "operator",
    "GET /property/tariffs": "viewer accountant operator",
    "POST /property/tariffs/check": "operator",
    "POST /property/tariffs/roll-out": "operator",
    "GET /property/staff": "operator",
    "POST /property/staff": "operator",
    "POST /property/staff/{staff_id}/role": "operator",
    "POST /property/staff/{staff_id}/groups": "operator",
    "POST /property/staff/{staff_id}/password": "operator",
    "POST /property/staff/{staff_id}/remove": "operator",
    "GET /property/audit": "accountant operator",
}


async def test_each_role_may_what_its_table_says(url: str) -> None:
    async with fleet_web(url) as at:
        theirs = await populate(at)
        for role, (line, roles) in itertools.product(("viewer", "accountant"), OFFICE.items()):
            browser = await at.office(role)  # type: ignore[arg-type]  # one of Role
            method, path = line.split()
            answer = await ask(browser, method, path.format(**theirs), theirs["session_id"])
            may = role in roles.split()
            assert (answer.status_code == 403) == (not may), (role, line, answer.status_code)
        nobody = await at.browser()
        for line in OFFICE:
            method, path = line.split()
            answer = await ask(nobody, method, path.format(**theirs))
            assert (answer.status_code, answer.headers["location"]) == (303, "/property/sign-in"), line


async def test_a_login_for_some_site_groups_sees_these_sites_only(url: str) -> None:
    async with fleet_web(url) as at:
        theirs = await populate(at)
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE site SET site_group = 'north' WHERE id = %s", (at.scene.site_id,))
            south = fleet_scene.FleetScene(
                at.scene.company_id,
                await companies.add_site(connection, at.scene.company_id, "South gate", site_group="south"),
            )
            await fleet_scene.add_cabinet(connection, south, "c-south", outlets=1)
        limited = await at.office("operator", groups=["south"])
        listed = await limited.get("/property")
        assert "c-south" in listed.text
        assert "c-one" not in listed.text
        assert "Secret gate" not in listed.text
        for line in OFFICE:
            method, path = line.split()
            if "{staff_id}" in path or path in ("/property/staff", "/property/audit"):
                expected = 403
            elif "c-one" in path or "{resident_id}" in path:
                expected = 404
            else:
                continue
            answer = await ask(limited, method, path.format(**theirs), theirs["session_id"])
            assert answer.status_code == expected, (line, answer.status_code)
        assert "Secret resident" not in (await limited.get("/property/residents")).text
        await limited.send(
            "/property/tariffs/roll-out", text=fleet_scene.TARIFF.replace("2026-11", "2030-1"), only="true"
        )
        async with at.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT cabinet FROM desired WHERE kind = 'tariffs' AND value::text LIKE '%2030-1%'"
            )
            assert await cursor.fetchall() == [("c-south",)], "rolled out to its own cabinets only"
        north = await at.office("accountant", groups=["north"])
        assert "c-south" not in (await north.get("/property")).text
        assert (await north.get(f"/property/residents/{theirs['resident_id']}")).status_code == 200, "charged there"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "‮evil\x07"]
)
async def test_names_are_text_on_every_page(url: str, name: str) -> None:
    async with fleet_web(url) as at:
        theirs = await populate(at)
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE company SET name = %s WHERE id = %s", (name, at.scene.company_id))
            await connection.execute(
                "UPDATE site SET name = %s, address = %s WHERE id = %s", (name, name, at.scene.site_id)
            )
            await connection.execute("UPDATE cabinet SET name = %s, software = %s WHERE id = 'c-one'", (name, name))
            await connection.execute("UPDATE resident SET name = %s", (name,))
        await at.show("c-one", OutletReport(1, "needs_service", "out_of_service", note=name))
        office, phone = await at.office(), await at.browser(int(theirs["resident_id"]))
        paths = [line.split()[1].format(**theirs) for line in OFFICE if line.startswith("GET")]
        for browser, path in (
            *((office, path) for path in paths if not path.endswith(".csv")),
            *((phone, path) for path in ("/s/C-ONE-1", f"/charge/{theirs['session_id']}", "/account")),
        ):
            text = (await browser.get(path)).text
            assert "<script>alert" not in text, path
            assert "<img src=x" not in text, path
            assert "\u202e" not in text, path
            assert "49" not in re.findall(r"\{\{.*?\}\}|>49<", text), path
