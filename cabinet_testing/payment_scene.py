"""A company with a cabinet and accounts at both simulated platforms, over a real database: for tests of payments."""

import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from cabinet_testing import fleet_scene
from cabinet_testing.fleet_scene import FleetScene
from cabinet_testing.payment_bench import PaymentBench
from fleet.money import offering, paying
from fleet.money.paying import PaymentWanted
from fleet.money.payments.accounts import MerchantAccount, MerchantAccounts, add_account
from fleet.money.payments.port import NotificationRefused
from fleet.money.secret_box import SecretBox, make_key, open_box
from fleet.money.watcher import PaymentWatcher
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.store import database, payments, wallets
from fleet.store import orders as order_rows
from fleet.store.database import Pool
from fleet.store.orders import OrderRow
from fleet.store.payments import PaymentRow

PlatformName = Literal["wechat", "alipay"]


class PaymentScene:
    """`account(name)` is the company's account; time is the bench's, and `due()` brings what waits forward."""

    def __init__(self, pool: Pool, bench: PaymentBench, key: Path, url: str) -> None:
        self.pool, self.bench = pool, bench
        self.config = fleet_scene.config(url)
        make_key(key)
        self.box: SecretBox = open_box(key)
        section = type(self.config.payments)(
            key=str(key), wechat_url="http://platform.test", wechat_login_url="http://platform.test/connect/oauth2/authorize",
            wechat_identity_url="http://platform.test/sns/oauth2/access_token",
            alipay_url="http://platform.test/gateway.do",
            alipay_login_url="http://platform.test/oauth2/publicAppAuthorize.htm",
        )  # fmt: skip
        sections = {name: getattr(self.config, name) for name in self.config.__struct_fields__}
        self.config = type(self.config)(**{**sections, "payments": section})
        self.accounts = MerchantAccounts(self.config, bench.clock, bench.http)
        self.watcher = PaymentWatcher(pool, self.config, self.accounts)
        self.scene = FleetScene(0, 0)
        self._taps = itertools.count(1)
        self._records = itertools.count(1)

    async def build(self) -> None:
        async with self.pool.connection() as connection:
            self.scene = await fleet_scene.add_company(connection)
            await fleet_scene.add_cabinet(connection, self.scene, "c-one")
            for name, account in self.bench.platforms.accounts().items():
                secrets = json.dumps(account["secrets"]).encode()
                await add_account(connection, self.box, self.scene.company_id, name, account["settings"], secrets)

    async def account(self, name: PlatformName = "wechat") -> MerchantAccount:
        return (await self.accounts.offered(self.pool, self.scene.company_id))[name]

    async def resident(self, fen: int = 0) -> int:
        async with self.pool.connection() as connection:
            return await fleet_scene.add_resident(connection, self.scene, fen)

    # --- paying ------------------------------------------------------------------------------------------------------

    async def begin(self, resident: int, name: PlatformName = "wechat", outlet: int = 3, **changes: Any) -> PaymentRow:
        """Write a payment of 2 yuan for a charge, or as `changes` say."""
        values = {"purpose": "charge", "amount_fen": 200, "way": "in_app", "code": fleet_scene.code_of("c-one", outlet)}
        wanted = PaymentWanted(**{**values, "choice": "amount", "address": "203.0.113.7", **changes})
        account = await self.account(name)
        async with self.pool.connection() as connection:
            return await paying.begin(
                connection, account, resident, wanted, f"tap-{next(self._taps)}", self.accounts.expires()
            )

    async def offer(self, row: PaymentRow) -> PaymentRow:
        account = await self.accounts.find(self.pool, row.account_id)
        assert account is not None
        rules = self.config.orders
        return await offering.offer(self.pool, self.accounts, account, rules, row, "person-1", "充电")

    async def begin_offered(self, resident: int, name: PlatformName = "wechat", **changes: Any) -> PaymentRow:
        return await self.offer(await self.begin(resident, name, **changes))

    def pay(self, row: PaymentRow) -> None:
        """The person pays at the platform; its notification waits."""
        self.sim(row).pay(self._merchant(row), row.number)

    async def pay_and_notify(self, row: PaymentRow) -> PaymentRow:
        self.pay(row)
        await self.notify()
        return await self.row(row.number)

    def sim(self, row: PaymentRow) -> Any:
        """Return the simulated platform of a payment."""
        found = self.accounts._accounts[row.account_id]
        return self.bench.platforms.wechat if found.row.platform == "wechat" else self.bench.platforms.alipay

    def _merchant(self, row: PaymentRow) -> str:
        return self.accounts._accounts[row.account_id].row.merchant

    async def notify(self) -> list[str]:
        """Deliver what both platforms have to notify, as the endpoint would; return the outcomes."""
        outcomes = []
        platforms = self.bench.platforms
        platforms.wechat.settle_refunds()
        platforms.alipay.settle_refunds()
        for name, sim in (("wechat", platforms.wechat), ("alipay", platforms.alipay)):
            due = [notice for notice in sim.notices.waiting if notice.due <= self.bench.now]
            for notice in due:
                sim.notices.waiting.remove(notice)
                outcomes.append(await self.deliver(name, *notice.make()))
        return outcomes

    async def deliver(self, name: Any, headers: dict[str, str], body: bytes) -> str:
        account = await self.account(name)
        try:
            report = await account.platform.parse_notification(headers, body, self.bench.now)
        except NotificationRefused as refused:
            return f"refused: {refused}"
        return await offering.took(self.pool, account, self.config.orders, report)

    async def due(self) -> None:
        """Let the watcher take up at once whatever waits for a later time, and everything that follows from it."""
        for _ in range(3):
            async with self.pool.connection() as connection:
                await connection.execute(
                    "UPDATE payment SET due = now() WHERE state IN ('created','offered','closing')"
                )
                await connection.execute("UPDATE refund SET due = now() WHERE state IN ('wanted', 'sent')")
            self.watcher._resting.clear()
            await self.watcher.sweep()

    async def all_over(self) -> None:
        """Let everything end: what is due, what the platforms then notify, and what follows from that."""
        await self.due()
        await self.notify()
        await self.due()

    # --- charges -----------------------------------------------------------------------------------------------------

    async def charge(self, number: str, cost_fen: int) -> None:
        """The order was sent, and the bill of its charge has arrived."""
        async with self.pool.connection() as connection:
            book = await OrderBook.load(connection, [number])
            if book.may(number, OrderStep.SEND):
                book.step(number, OrderStep.SEND, sent=book.now)
            electricity, record = cost_fen * 2 // 3, next(self._records)
            book.settle(number, electricity, cost_fen - electricity, record, f"session-{record}")
            await book.write(connection)

    async def refuse(self, number: str) -> None:
        """The cabinet does not start the charge."""
        async with self.pool.connection() as connection:
            book = await OrderBook.load(connection, [number])
            book.refuse(number, "no_answer")
            await book.write(connection)

    # --- what is there -----------------------------------------------------------------------------------------------

    async def row(self, number: str) -> PaymentRow:
        async with self.pool.connection() as connection:
            found = await payments.get(connection, self.scene.company_id, number)
        assert found is not None
        return found

    async def order(self, number: str) -> OrderRow:
        async with self.pool.connection() as connection:
            found = await order_rows.get(connection, self.scene.company_id, number)
        assert found is not None
        return found

    async def refunds(self, number: str) -> list[tuple[int, str, str]]:
        """Return amount, reason and state of a payment's refunds."""
        async with self.pool.connection() as connection:
            found = await payments.refunds(connection, self.scene.company_id, number)
        return [(each.amount_fen, each.reason, each.state) for each in found]

    async def balance(self, resident: int) -> int:
        async with self.pool.connection() as connection:
            return (await wallets.wallet(connection, self.scene.company_id, resident)).balance_fen

    async def balances(self) -> dict[str, int]:
        async with self.pool.connection() as connection:
            found = await wallets.balances(connection, self.scene.company_id)
        return {name: fen for name, fen in found.items() if fen}

    async def problems(self) -> list[str]:
        """Return whatever does not agree: books, payments and ledger, money at the platforms."""
        async with self.pool.connection() as connection:
            found = await wallets.check(connection, self.scene.company_id)
            found += await payments.check(connection, self.scene.company_id)
        booked = await self.balances()
        for name, sim in (("wechat", self.bench.platforms.wechat), ("alipay", self.bench.platforms.alipay)):
            account = await self.account(name)  # type: ignore[arg-type]  # one of both
            there = sim.table.balance.get(account.row.merchant, 0)
            if -booked.get(f"platform:{name}:{account.row.merchant}", 0) != there:
                found.append(f"{name} has {there} fen")
        return found


@contextlib.asynccontextmanager
async def payment_scene(url: str, folder: Path) -> AsyncIterator[PaymentScene]:
    bench = PaymentBench()
    async with database.pool(url, 4) as pool:
        scene = PaymentScene(pool, bench, folder / f"payments-{os.getpid()}.key", url)
        await scene.build()
        try:
            yield scene
        finally:
            await bench.http.close()
            await bench.platforms.close()
