"""Both simulated platforms behind one address, and their process for `make fleet`."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from cabinet.clock import SystemClock
from fleet.sim.payments.alipay import SimAlipay
from fleet.sim.payments.web import SimApplication, SimReply, SimRequest
from fleet.sim.payments.wechat import SimWechat

TICK_S = 0.1
SHORT_LADDER_S = (1.0, 1.0, 2.0, 4.0, 8.0, 15.0)
REFUND_DELAY_S = 1.0

WECHAT_MERCHANT, WECHAT_APP = "1900000109", "wxd678efh567hg6787"
ALIPAY_SELLER, ALIPAY_APP = "2088102146225135", "2021000122671234"


class SimPlatforms:
    """WeChat Pay and Alipay. `clock` gives seconds since 1970; `transport` carries notifications, in tests."""

    def __init__(
        self,
        address: str,
        clock: Callable[[], float] = lambda: SystemClock().wall().unix_ms / 1000,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.address = address
        self.wechat = SimWechat(clock, address, transport)
        self.alipay = SimAlipay(clock, address, transport)
        self.application = SimApplication(self._handle)

    async def _handle(self, request: SimRequest) -> SimReply:
        of_alipay = request.path.startswith(("/gateway.do", "/sim/alipay/", "/oauth2/"))
        return await (self.alipay if of_alipay else self.wechat).handle(request)

    async def tick(self) -> int:
        """End the refunds and send the notifications that are due; return the number of notifications."""
        self.wechat.settle_refunds()
        self.alipay.settle_refunds()
        return await self.wechat.notices.send_due() + await self.alipay.notices.send_due()

    async def close(self) -> None:
        await self.wechat.notices.close()
        await self.alipay.notices.close()

    def shorten(self) -> None:
        """Let a person see in seconds what takes a real platform a day."""
        for platform in (self.wechat, self.alipay):
            platform.table.refund_delay_s = REFUND_DELAY_S
            platform.table.refund_gap_s = 0
            platform.notices.ladder_s = SHORT_LADDER_S

    def accounts(self) -> dict[str, Any]:
        """Return what a company gets from each platform for its account, as `fleet merchant add` reads it."""
        merchant = self.wechat.merchants.get(WECHAT_MERCHANT) or self.wechat.add_merchant(WECHAT_MERCHANT, WECHAT_APP)
        app = self.alipay.apps.get(ALIPAY_APP) or self.alipay.add_app(ALIPAY_APP, ALIPAY_SELLER)
        return {
            "wechat": {
                "settings": {
                    "merchant": WECHAT_MERCHANT, "app": WECHAT_APP, "serial": merchant.certificate.number,
                    "public_keys": {self.wechat.public_name: self.wechat.public_key.public_pem},
                },
                "secrets": {
                    "private_key": merchant.certificate.key.pem, "api_key": merchant.api_key,
                    "app_secret": merchant.app_secret,
                },
            },
            "alipay": {
                "settings": {
                    "merchant": ALIPAY_SELLER, "app": ALIPAY_APP, "app_certificate": app.certificate.pem,
                    "roots": self.alipay.root_pem, "certificates": [self.alipay.chain_pem(self.alipay.signer)],
                },
                "secrets": {"private_key": app.certificate.key.pem},
            },
        }  # fmt: skip


class _Server(uvicorn.Server):
    """Leaves signals to its process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(platforms: SimPlatforms, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a bound socket for the block; `tick` runs beside it."""
    server = _Server(uvicorn.Config(platforms.application, log_level="warning", lifespan="off"))
    tasks = [asyncio.create_task(server.serve([listener])), asyncio.create_task(_tick(platforms))]
    try:
        yield
    finally:
        tasks[1].cancel()
        server.should_exit = True
        await tasks[0]
        await platforms.close()


async def _tick(platforms: SimPlatforms) -> None:
    while True:
        await platforms.tick()
        await asyncio.sleep(TICK_S)


def write_accounts(platforms: SimPlatforms, folder: Path) -> None:
    """Write a file for each account, readable by its owner only."""
    for name, account in platforms.accounts().items():
        file = folder / f"{name}.json"
        file.touch(0o600)
        file.write_text(json.dumps(account, indent=1), encoding="utf-8")
