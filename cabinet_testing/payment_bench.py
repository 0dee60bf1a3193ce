"""Simulated payment platforms with accounts at them, on a clock that a test moves; calls need no socket."""

import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from fleet.money.payments.alipay import AlipayPay
from fleet.money.payments.alipay_account import AlipayAddresses, AlipaySecrets, AlipaySettings
from fleet.money.payments.http import PlatformHttp
from fleet.money.payments.port import PaymentRequest, RefundRequest, Way
from fleet.money.payments.wechat import WechatPay
from fleet.money.payments.wechat_keys import WechatAddresses, WechatSecrets, WechatSettings
from fleet.sim.payments import keys
from fleet.sim.payments.platforms import SimPlatforms

ADDRESS = "http://platform.test"
NOTIFY = "http://fleet.test/pay/notify"
START_S = 1_764_550_000.0  # 2025-12-01 08:46:40 in China
SPONSOR, SUB = "1900000100", "1900000209"
ISV_APP, CONSENTING = "2021000100000001", "2088000000000002"


class PaymentBench:
    """`wechat`, `alipay`: accounts of a company itself; `wechat_partner`, `alipay_isv`: by a service provider."""

    def __init__(self, notified: httpx.AsyncBaseTransport | None = None) -> None:
        keys.start_over()
        self.now = START_S
        self.platforms = SimPlatforms(ADDRESS, self.clock, notified)
        self.http = PlatformHttp(httpx.ASGITransport(self.platforms.application))
        sim = self.platforms
        accounts = sim.accounts()
        self.wechat = self.wechat_account(**accounts["wechat"])
        self.alipay = self.alipay_account(**accounts["alipay"])
        sponsor = sim.wechat.add_merchant(SPONSOR, "wxsponsor", (SUB,))
        self.wechat_partner = self.wechat_account(
            {"merchant": SPONSOR, "app": "wxsponsor", "serial": sponsor.certificate.number, "sub_merchant": SUB},
            {"private_key": sponsor.certificate.key.pem, "api_key": sponsor.api_key, "app_secret": "none"},
        )
        app = sim.alipay.add_app(ISV_APP, "2088000000000001", (CONSENTING,))
        [token] = app.consents
        self.alipay_isv = self.alipay_account(
            {**accounts["alipay"]["settings"], "merchant": CONSENTING, "app": ISV_APP,
             "app_certificate": app.certificate.pem},
            {"private_key": app.certificate.key.pem, "app_auth_token": token},
        )  # fmt: skip

    def clock(self) -> float:
        return self.now

    def wechat_account(self, settings: dict[str, Any], secrets: dict[str, Any], **changes: Any) -> WechatPay:
        addresses = WechatAddresses(
            api=ADDRESS, login=f"{ADDRESS}/connect/oauth2/authorize", identity=f"{ADDRESS}/sns/oauth2/access_token"
        )
        given = WechatSettings(**{**settings, **changes})
        return WechatPay(given, WechatSecrets(**secrets), self.http, self.clock, addresses)

    def alipay_account(self, settings: dict[str, Any], secrets: dict[str, Any], **changes: Any) -> AlipayPay:
        addresses = AlipayAddresses(gateway=f"{ADDRESS}/gateway.do", login=f"{ADDRESS}/oauth2/publicAppAuthorize.htm")
        given = {**settings, **changes}
        given["certificates"] = tuple(given["certificates"])
        return AlipayPay(AlipaySettings(**given), AlipaySecrets(**secrets), self.http, self.clock, addresses)

    def sim_of(self, account: WechatPay | AlipayPay) -> Any:
        """Return the simulated platform of an account."""
        return self.platforms.wechat if isinstance(account, WechatPay) else self.platforms.alipay

    async def open_link(self, link: str) -> httpx.Response:
        """Open the platform's page as the person's browser does."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.platforms.application)) as browser:
            return await browser.get(link)

    def request(self, number: str = "P23456789", way: Way = "in_app", **changes: Any) -> PaymentRequest:
        expires = datetime.datetime.fromtimestamp(self.now + 900, datetime.UTC)
        values = {
            "number": number, "amount_fen": 200, "description": "充电 3号插座", "expires": expires,
            "notify_url": NOTIFY, "return_url": f"http://fleet.test/pay/{number}", "way": way, "payer": "person-1",
            "address": "203.0.113.7",
        }  # fmt: skip
        return PaymentRequest(**{**values, **changes})

    @staticmethod
    def refund(number: str = "P23456789", refund: str = "R1", fen: int = 80, whole: int = 200) -> RefundRequest:
        return RefundRequest(number, refund, fen, whole, "充电结束，退回余款", NOTIFY)


@contextlib.asynccontextmanager
async def payment_bench(notified: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[PaymentBench]:
    bench = PaymentBench(notified)
    try:
        yield bench
    finally:
        await bench.http.close()
        await bench.platforms.close()


def on_bench(run: Callable[[Any], Any], name: str, body: Callable[..., Any]) -> None:
    """Run `body(bench, account, sim, merchant)` with one account and the platform behind it."""

    async def whole() -> None:
        async with payment_bench() as bench:
            account = getattr(bench, name)
            await body(bench, account, bench.sim_of(account), account.merchant)

    run(whole())


async def paid(
    bench: PaymentBench, account: WechatPay | AlipayPay, sim: Any, number: str = "P23456789"
) -> tuple[dict[str, str], bytes]:
    """Offer a payment, let the person pay it, and return the notification that the platform has ready."""
    await account.create(bench.request(number))
    sim.pay(account.merchant, number)
    notice: tuple[dict[str, str], bytes] = sim.notices.waiting.pop().make()
    return notice
