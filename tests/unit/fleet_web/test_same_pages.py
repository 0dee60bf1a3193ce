"""Residents' pages are one set of pages: each story here is told at a cabinet and at a fleet, with the same words."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from cabinet_testing import fleet_web as at_fleet
from cabinet_testing.fleet_web import FleetBrowser, FleetWeb
from cabinet_testing.property_harness import PropertyHarness, property_harness
from cabinet_testing.service_harness import CARDS, ServiceHarness
from cabinet_testing.service_harness import PIN as CABINET_PIN

KEY, OTHER_KEY = "k" * 32, "q" * 32
START_FEN = 2000


class Place(Protocol):
    """A place with outlets 1 and 3 and two residents, each with a card and 20 yuan."""

    codes: dict[int, str]
    cards: tuple[str, str]
    pin: str

    async def browser(self) -> FleetBrowser: ...
    async def charge(self, session_id: str) -> None:
        """Let the charge at outlet 3 run for ten minutes."""

    async def stop(self, browser: FleetBrowser, session_id: str) -> httpx.Response: ...


class AtCabinet:
    def __init__(self, at: PropertyHarness) -> None:
        self._at = at
        self.codes = {outlet.number: outlet.code for outlet in at.harness.config.outlet}
        self.cards = CARDS[:2]
        self.pin = CABINET_PIN

    async def browser(self) -> FleetBrowser:
        return FleetBrowser((await self._at.browser(None)).client)

    async def charge(self, session_id: str) -> None:
        await self._at.harness.charge(self._at.service, 3, 600)

    async def stop(self, browser: FleetBrowser, session_id: str) -> httpx.Response:
        guard = self._at.harness.guard
        asked = len(guard.commands)
        stopping = asyncio.create_task(browser.send(f"/charge/{session_id}/stop"))
        while len(guard.commands) == asked and not stopping.done():
            await asyncio.sleep(0)
        await guard.tell()
        answer = await stopping
        await self._at.harness.settle(self._at.service)
        return answer


class AtFleet:
    def __init__(self, at: FleetWeb) -> None:
        self._at = at
        self.codes = {number: f"C-ONE-{number}" for number in (1, 2, 3)}
        self.cards = ("10010000", "10010001")
        self.pin = at_fleet.PIN

    async def browser(self) -> FleetBrowser:
        return await self._at.browser()

    async def charge(self, session_id: str) -> None:
        await self._at.charge(session_id)

    async def stop(self, browser: FleetBrowser, session_id: str) -> httpx.Response:
        return await browser.send(f"/charge/{session_id}/stop")


Ground = Callable[[], contextlib.AbstractAsyncContextManager[Place]]


@pytest.fixture(params=["cabinet", "fleet"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Return a function that opens the place, at a cabinet or at a fleet."""
    url = request.getfixturevalue("url") if request.param == "fleet" else ""
    return lambda: _opened(tmp_path, url)


@contextlib.asynccontextmanager
async def _opened(folder: Path, url: str) -> AsyncIterator[Place]:
    if not url:
        async with property_harness(folder, ServiceHarness(folder, balance_fen=START_FEN)) as at:
            yield AtCabinet(at)
        return
    async with at_fleet.fleet_web(url) as fleet:
        for _ in range(2):
            await fleet.resident(fen=START_FEN)
        yield AtFleet(fleet)


async def signed_in(place: Place, number: int = 0) -> FleetBrowser:
    browser = await place.browser()
    answer = await browser.send("/sign-in", to=f"/s/{place.codes[3]}", card=place.cards[number], pin=place.pin)
    assert answer.headers["location"] == f"/s/{place.codes[3]}"
    return browser


async def started(place: Place, browser: FleetBrowser, key: str = KEY, outlet: int = 3) -> httpx.Response:
    return await browser.send(f"/s/{place.codes[outlet]}/start", kind="full", request_key=key)


def session_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303
    return answer.headers["location"].removeprefix("/charge/")


async def test_a_stranger_sees_outlet_and_price_and_signs_in_first(ground: Ground) -> None:
    async with ground() as place:
        browser = await place.browser()
        page = await browser.page(f"/s/{place.codes[3]}")
        for words in ("3 号插座", "空闲", "每小时约", "登录后开始充电"):
            assert words in page.text, words
        wrong = await browser.send("/sign-in", to=f"/s/{place.codes[3]}", card=place.cards[0], pin="000001")
        assert wrong.status_code == 401
        assert "卡号或密码不对" in wrong.text
        mine = await signed_in(place)
        page = await mine.page(f"/s/{place.codes[3]}")
        assert "开始充电，充满自停" in page.text
        assert "20.00" in page.text


async def test_a_tap_starts_once_and_one_charge_at_a_time(ground: Ground) -> None:
    async with ground() as place:
        browser = await signed_in(place)
        session_id = session_of(await started(place, browser))
        assert session_of(await started(place, browser)) == session_id
        assert (await started(place, browser, OTHER_KEY, outlet=1)).status_code == 409
        assert "请现在插上充电器" in (await browser.page(f"/charge/{session_id}")).text
        assert (await browser.page("/")).all("a", href=f"/charge/{session_id}")
        assert "您正在 3 号插座充电" in (await browser.page(f"/s/{place.codes[1]}")).text
        other = await signed_in(place, 1)
        assert "有人正在使用" in (await other.page(f"/s/{place.codes[3]}")).text
        assert (await started(place, other)).status_code == 409


async def test_from_running_to_receipt_and_the_money_adds_up(ground: Ground) -> None:
    async with ground() as place:
        browser = await signed_in(place)
        session_id = session_of(await started(place, browser))
        await place.charge(session_id)
        page = await browser.page(f"/charge/{session_id}")
        for words in ("充电中", "已用金额", "停止充电"):
            assert words in page.text, words
        curve = json.loads((await browser.get(f"/charge/{session_id}/curve")).text)
        assert set(curve) == {"points", "watts", "minutes"}
        assert (await place.stop(browser, session_id)).status_code == 303
        receipt = (await browser.page(f"/charge/{session_id}")).text
        for words in ("收据", "订单号", "校验", "再次充电"):
            assert words in receipt, words
        again = await place.stop(browser, session_id)
        assert again.status_code in (303, 409)
        statement = await browser.page("/account/statement")
        assert "充电预付" in statement.text
        assert "充电后退回" in statement.text
        account = await browser.page("/account")
        assert account.all("a", href=f"/charge/{session_id}")
        assert "开始充电，充满自停" in (await browser.page(f"/s/{place.codes[3]}")).text


async def test_a_charge_is_its_residents_only(ground: Ground) -> None:
    async with ground() as place:
        session_id = session_of(await started(place, await signed_in(place)))
        other = await signed_in(place, 1)
        for path in ("", "/curve", "/live"):
            assert (await other.get(f"/charge/{session_id}{path}")).status_code == 404, path
        assert (await other.send(f"/charge/{session_id}/stop")).status_code == 404
        stranger = await place.browser()
        assert (await stranger.get(f"/charge/{session_id}")).headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"kind": "amount", "number": "7"}, 400),
        ({"kind": "hours", "number": "3"}, 400),
        ({"kind": "free"}, 400),
        ({"kind": "full", "request_key": "short"}, 400),
        ({"kind": "full", "form_key": "x" * 32}, 403),
    ],
)
async def test_what_no_form_of_ours_sends_starts_nothing(ground: Ground, fields: dict[str, str], status: int) -> None:
    async with ground() as place:
        browser = await signed_in(place)
        answer = await browser.send(f"/s/{place.codes[3]}/start", **({"request_key": KEY} | fields))
        assert answer.status_code == status
        assert "还没有充电记录" in (await browser.page("/account/charges")).text


async def test_unknown_codes_and_charges_are_404_with_the_next_step(ground: Ground) -> None:
    async with ground() as place:
        browser = await signed_in(place)
        for path in ("/s/ZZ99", "/s/ZZ99/live", "/charge/none", "/charge/none/curve"):
            answer = await browser.get(path)
            assert answer.status_code == 404, path
            assert "没有成功" in answer.text, path
        assert (await started(place, browser)).status_code == 303


async def test_sign_out_here_and_everywhere(ground: Ground) -> None:
    async with ground() as place:
        one, two, three = [await signed_in(place) for _ in range(3)]
        await one.send("/sign-out")
        assert (await one.get("/account")).status_code == 303
        assert (await two.get("/account")).status_code == 200
        await two.send("/sign-out", everywhere="true")
        assert (await three.get("/account")).status_code == 303


async def test_language_and_headers_of_every_page(ground: Ground) -> None:
    async with ground() as place:
        browser = await signed_in(place)
        for path in ("/", f"/s/{place.codes[3]}", "/account", "/account/charges", "/account/statement", "/sign-in"):
            answer = await browser.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["cache-control"] == "no-store", path
            assert "default-src 'none'" in answer.headers["content-security-policy"], path
            assert answer.headers["x-frame-options"] == "DENY", path
        await browser.send("/preferences", language="en", back="/")
        assert "Outlet 3" in (await browser.page(f"/s/{place.codes[3]}")).text
