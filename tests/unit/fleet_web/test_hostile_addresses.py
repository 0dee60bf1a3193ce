"""Addresses and bodies that no page of ours makes are refused, and are no fault of the fleet."""

import base64

import pytest

from cabinet_testing.fleet_web import fleet_web
from fleet.store import staff

BIG = str(2**63)  # the first number that BIGINT does not hold


async def test_an_address_with_a_nul_or_a_number_beyond_the_database_is_refused(url: str) -> None:
    async with fleet_web(url) as at:
        office, resident = await at.office(), await at.browser(await at.resident())
        not_utf8 = base64.urlsafe_b64encode(b'["2026-01-01T00:00:00Z","\xff","a",1]').decode()
        for browser, path in (
            (resident, "/charge/%00"), (resident, "/charge/%00/curve"), (resident, "/s/%00"),
            (resident, f"/account/statement?before={BIG}"), (resident, f"/account/charges?before={BIG}"),
            (office, "/property/cabinets/%00"), (office, "/property/usage/%00/%00/1"),
            (office, f"/property/usage/c-one/epoch-1/{BIG}"), (office, f"/property/usage?before={not_utf8}"),
        ):  # fmt: skip
            assert (await browser.get(path)).status_code in (400, 404), path
        assert (await resident.send("/charge/%00/stop")).status_code in (400, 404)
        assert (await office.send("/property/cabinets/%00/stop", order="x")).status_code in (400, 404)


@pytest.mark.parametrize(
    "body", [b'{"code":"\xff-AAAA-AAAA"}', b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}", b"", b"[]", b"\xff"]
)
async def test_an_enrolment_that_cannot_be_read_is_a_bad_request(url: str, body: bytes) -> None:
    async with fleet_web(url) as at:
        answer = await (await at.browser()).client.post("/enrol", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_company_keeps_an_operator_of_all_sites(url: str) -> None:
    async with fleet_web(url) as at:
        office = await at.office("operator")
        await at.office("operator", groups=["north"])
        async with at.pool.connection() as connection:
            whole = next(each for each in await staff.everyone(connection, at.scene.company_id) if not each.site_groups)
        for action, fields in (("role", {"role": "viewer"}), ("remove", {}), ("groups", {"groups": "north"})):
            answer = await office.send(f"/property/staff/{whole.id}/{action}", confirmed="true", **fields)
            assert answer.status_code == 409, action
        async with at.pool.connection() as connection:
            assert whole in await staff.everyone(connection, at.scene.company_id)
