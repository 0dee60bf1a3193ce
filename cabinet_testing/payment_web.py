"""The fleet's pages with both simulated platforms behind them: a person with WeChat, Alipay or a plain browser pays."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from cabinet_testing.fleet_web import ADDRESS, FleetBrowser, FleetWeb, fleet_web
from cabinet_testing.html_page import Page
from cabinet_testing.payment_bench import ADDRESS as PLATFORM
from cabinet_testing.payment_bench import PaymentBench
from fleet.config import FleetConfig
from fleet.money.payments.accounts import MerchantAccounts, add_account
from fleet.money.secret_box import make_key, open_box
from fleet.money.watcher import PaymentWatcher
from fleet.store import rows

WECHAT_AGENT = (
    "Mozilla/5.0 (Linux; Android 12) AppleWebKit/537.36 Chrome/107 Mobile Safari/537.36 MicroMessenger/8.0.50"
)
ALIPAY_AGENT = "Mozilla/5.0 (Linux; U; Android 12) AppleWebKit/537.36 Chrome/107 Mobile Safari/537.36 AlipayClient/10.5"
PLAIN_AGENT = "Mozilla/5.0 (Linux; Android 12) AppleWebKit/537.36 Chrome/107 Mobile Safari/537.36"

WITHIN_S = 20.0

_LINK = re.compile(r'href="([^"]+)"[^>]*data-go')
_OPEN = re.compile(r'class="button primary" href="([^"]+)"')
_SHEET = re.compile(r'data-bridge="([^"]+)"')


class PayingPhone:
    """A person's browser: follows what a real one would follow."""

    def __init__(self, browser: FleetBrowser, bench: PaymentBench) -> None:
        self.browser, self._bench = browser, bench
        self.taps = 0

    async def pay(self, code: str, amount: str = "200", platform: str = "wechat") -> str:
        """Tap an amount on the outlet's page, and go on to the payment; return its path."""
        page = await self.browser.get(f"/s/{code}")
        found = re.search(r'action="/s/[^"]+/pay">.*?name="request_key" value="([^"]+)"', page.text, re.DOTALL)
        assert found, Page(page.text).text
        return await self._through(f"/s/{code}/pay", amount, found[1], platform)

    async def top_up(self, amount: str = "1000", platform: str = "wechat") -> str:
        page = await self.browser.get("/account/top-up")
        found = re.search(r'name="request_key" value="([^"]+)"', page.text)
        assert found, Page(page.text).text
        return await self._through("/account/top-up", amount, found[1], platform)

    async def _through(self, action: str, amount: str, key: str, platform: str) -> str:
        answer = await self.tap(action, amount=amount, request_key=key)
        if answer.status_code == 200 and 'name="platform"' in answer.text:
            answer = await self.tap(action, amount=amount, request_key=key, platform=platform)
        if answer.status_code == 200 and (found := _LINK.search(answer.text)):  # the app names the person by itself
            back = (await self._bench.open_link(_plain(found[1]))).headers["location"]
            answer = await self.browser.get(back.removeprefix("http://127.0.0.1:8090"))
        assert answer.status_code == 303, Page(answer.text).text
        return answer.headers["location"]

    async def tap(self, action: str, **fields: str) -> httpx.Response:
        self.taps += 1
        return await self.browser.send(action, **fields)

    async def confirm(self, path: str) -> None:
        """Confirm the payment in the app's own pay sheet, or on the platform's page."""
        page = (await self.browser.get(path)).text
        sims = self._bench.platforms
        if link := _OPEN.search(page):
            self.taps += 1
            await self._bench.open_link(_plain(link[1]))
            number = path.rpartition("/")[2]
            for sim in (sims.wechat, sims.alipay):
                for merchant, known in list(sim.table.trades):
                    if known == number:
                        sim.pay(merchant, number)
            return
        sheet = json.loads(_plain(_SHEET.search(page)[1]))  # type: ignore[index]  # one of both is there
        if "tradeNO" in sheet:
            sims.alipay.pay(*sims.alipay.number_of(sheet["tradeNO"]))
        else:
            trade = sims.wechat.prepared[sheet["package"].removeprefix("prepay_id=")]
            sims.wechat.pay(trade.merchant, trade.number)


class PaymentWeb:
    """`at`: the pages; `bench.platforms.tick()` sends what the platforms have to notify to them."""

    def __init__(self, at: FleetWeb, bench: PaymentBench, accounts: MerchantAccounts) -> None:
        self.at, self.bench, self.accounts = at, bench, accounts
        self.watcher = PaymentWatcher(at.pool, at.config, accounts)

    async def phone(self, agent: str, resident: int | None = None, language: str = "en") -> PayingPhone:
        browser = await self.at.browser(resident, language)
        browser.client.headers["user-agent"] = agent
        return PayingPhone(browser, self.bench)

    async def settle(self, number: str, cost_fen: int) -> None:
        """The cabinet has accepted the order; its charge ends with this bill."""
        with self.at.notices.subscribed("c-one") as changed:
            async with asyncio.timeout(WITHIN_S):
                while await self._on_its_way(number):
                    await changed.wait()
                    changed.clear()
        await self.at.settle(number, cost_fen)

    async def _on_its_way(self, number: str) -> bool:
        async with self.at.pool.connection() as connection:
            state = await rows.value(connection, "SELECT state FROM charge_order WHERE number = %s", (number,))
        return state in ("held", "sent")

    async def all_over(self) -> None:
        """Let the watcher and the platforms do whatever is left."""
        for _ in range(3):
            async with self.at.pool.connection() as connection:
                await connection.execute("UPDATE refund SET due = now() WHERE state IN ('wanted', 'sent')")
            await self.watcher.sweep()
            await self.bench.platforms.tick()


class _ToFleet(httpx.AsyncBaseTransport):
    """Carries notifications to the pages, by whatever name they have."""

    def __init__(self) -> None:
        self.app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="fleet.test", port=None)
        request.headers["host"] = "fleet.test"
        return await httpx.ASGITransport(self.app).handle_async_request(request)


@contextlib.asynccontextmanager
async def payment_web(url: str, folder: Path) -> AsyncIterator[PaymentWeb]:
    """Serve the pages of two companies, of which the first has accounts at both platforms."""
    transport = _ToFleet()
    bench = PaymentBench(transport)
    key = folder / "payments.key"
    make_key(key)
    made: list[MerchantAccounts] = []

    def accounts(config: FleetConfig) -> MerchantAccounts:
        made.append(MerchantAccounts(config, bench.clock, bench.http))
        return made[0]

    section = {
        "key": str(key), "wechat_url": PLATFORM, "wechat_login_url": f"{PLATFORM}/connect/oauth2/authorize",
        "wechat_identity_url": f"{PLATFORM}/sns/oauth2/access_token", "alipay_url": f"{PLATFORM}/gateway.do",
        "alipay_login_url": f"{PLATFORM}/oauth2/publicAppAuthorize.htm",
    }  # fmt: skip
    async with fleet_web(url, accounts, payments=section) as at:
        transport.app = at.app
        async with at.pool.connection() as connection:
            for name, account in bench.platforms.accounts().items():
                secrets = json.dumps(account["secrets"]).encode()
                await add_account(connection, open_box(key), at.scene.company_id, name, account["settings"], secrets)
        try:
            yield PaymentWeb(at, bench, made[0])
        finally:
            await bench.http.close()
            await bench.platforms.close()


def _plain(text: str) -> str:
    return text.replace("&#34;", '"').replace("&quot;", '"').replace("&amp;", "&")


__all__ = ["ADDRESS", "ALIPAY_AGENT", "PLAIN_AGENT", "WECHAT_AGENT", "payment_web"]
