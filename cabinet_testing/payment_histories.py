"""Random histories of payments: paid, notified in any order and number, started, settled, refunded, killed anywhere.

    python -m cabinet_testing.payment_histories --seeds 1000

After each history everything is let end, and then each fen is at one place: the books balance, payments and refunds
give the money at the platforms, and the platforms' bills agree with our rows.
"""

import argparse
import asyncio
import collections
import datetime
import random
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from cabinet.errors import CabinetError, Refused
from cabinet_testing import fleet_postgres
from cabinet_testing.payment_scene import PaymentScene, PlatformName, payment_scene
from fleet.money import offering, paying, reconciliation
from fleet.money.payment_table import RefundStep
from fleet.sim.payments.trades import Fault, SimRefusal
from fleet.store import rows
from fleet.store.payments import PaymentRow

PLATFORMS: tuple[PlatformName, PlatformName] = ("wechat", "alipay")
FAULTS: tuple[Fault, ...] = ("limit", "error_before", "error_after", "forged")
ENDS = {"closed", "credited", "spent", "returned"}
CHINA = datetime.timezone(datetime.timedelta(hours=8))
MAX_KILL_S = 0.02  # a kill comes within the first so many seconds of an action
LAST_STEPS = 6


class PaymentHistory:
    """One history on a scene, by the numbers of one seed."""

    def __init__(self, scene: PaymentScene, seed: int) -> None:
        self.scene = scene
        self._random = random.Random(seed)
        self._residents: list[int] = []
        self._payments: dict[str, PaymentRow] = {}
        self.done: collections.Counter[str] = collections.Counter()

    async def run(self, steps: int = 40) -> None:
        """Take random steps, some of them killed; then let everything end."""
        self._residents = [await self.scene.resident() for _ in range(3)]
        actions: list[Callable[[], Awaitable[None]]] = [
            self._begin, self._begin, self._offer, self._offer, self._pay, self._pay, self._notify, self._notify,
            self._watch, self._close, self._settle, self._settle, self._refuse, self._wait, self._want_back,
            self._decide, self._whole, self._whole, self._whole,
        ]  # fmt: skip
        for _ in range(steps):
            self._set_faults()
            action = self._random.choice(actions)
            killed = self._random.random() < 0.2
            task = asyncio.ensure_future(self._quiet(action))
            if killed:
                await asyncio.wait([task], timeout=self._random.random() * MAX_KILL_S)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
            self.done[f"{action.__name__.strip('_')}{' killed' if killed else ''}"] += 1
        await self._end()

    @staticmethod
    async def _quiet(action: Callable[[], Awaitable[None]]) -> None:
        """Take a step; a refusal is an outcome as any other."""
        try:
            await action()
        except (Refused, CabinetError, SimRefusal):
            return

    # --- steps -------------------------------------------------------------------------------------------------------

    def _set_faults(self) -> None:
        for sim in (self.scene.bench.platforms.wechat, self.scene.bench.platforms.alipay):
            table, notices = sim.table, sim.notices
            table.chaos = lambda: self._random.choice(FAULTS) if self._random.random() < 0.15 else None
            table.refund_delay_s = self._random.choice((0, 0, 600))
            notices.copies = self._random.choice((1, 1, 3))
            notices.delay_s = self._random.choice((0, 0, 900))
            notices.silent = self._random.random() < 0.2

    def _some(self) -> PaymentRow:
        if not self._payments:
            raise Refused("no_payment")
        return self._payments[self._random.choice(list(self._payments)[-4:])]

    async def _begin(self) -> None:
        choices = (
            {"amount_fen": 200}, {"amount_fen": 500, "choice": "full"},
            {"purpose": "wallet", "amount_fen": 1000, "code": "", "choice": ""},
        )  # fmt: skip
        row = await self.scene.begin(
            self._random.choice(self._residents), self._random.choice(PLATFORMS), self._random.randint(1, 10),
            way=self._random.choice(("in_app", "browser")), **self._random.choice(choices),
        )  # fmt: skip
        self._payments[row.number] = row

    async def _offer(self) -> None:
        row = await self.scene.row(self._some().number)
        if row.state == "created":
            await self.scene.offer(row)
            if row.way == "browser":
                self._payments[row.number] = row = await self.scene.row(row.number)
                if row.offer and row.offer["link"]:
                    await self.scene.bench.open_link(str(row.offer["link"]))

    async def _pay(self) -> None:
        self.scene.pay(self._some())

    async def _whole(self) -> None:
        """A payment as it mostly goes, whatever it meets on its way."""
        await self._begin()
        row = await self.scene.offer(self._payments[list(self._payments)[-1]])
        self.scene.pay(row)

    async def _notify(self) -> None:
        for sim in (self.scene.bench.platforms.wechat, self.scene.bench.platforms.alipay):
            self._random.shuffle(sim.notices.waiting)
        await self.scene.notify()

    async def _watch(self) -> None:
        if self._random.random() < 0.5:
            await self.scene.watcher.sweep()
        else:
            await self.scene.due()

    async def _close(self) -> None:
        row = self._some()
        account = await self.scene.accounts.find(self.scene.pool, row.account_id)
        assert account is not None
        await offering.close(self.scene.pool, account, self.scene.config.orders, row, "another way")

    async def _settle(self) -> None:
        row = await self.scene.row(self._some().number)
        if row.order_number:
            await self.scene.charge(row.order_number, self._random.choice((0, 1, 113, 200)))

    async def _refuse(self) -> None:
        row = await self.scene.row(self._some().number)
        if row.order_number and (await self.scene.order(row.order_number)).open:
            await self.scene.refuse(row.order_number)

    async def _wait(self) -> None:
        self.scene.bench.now += self._random.choice((1, 61, 400, 700))

    async def _want_back(self) -> None:
        async with self.scene.pool.connection() as connection:
            await paying.want_back(connection, self.scene.scene.company_id, self._random.choice(self._residents))

    async def _decide(self) -> None:
        """A refund fails at the platform, or a person decides about one that failed."""
        number = f"{self._some().number}R{self._random.randint(1, 2)}"
        if self._random.random() < 0.5:
            self.scene.bench.platforms.wechat.table.fail_refunds.add(number)
            return
        async with self.scene.pool.connection() as connection:
            await paying.decide_refund(connection, self.scene.scene.company_id, number, RefundStep.AGAIN)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Let everything end: no more faults, all charges over, all failed refunds tried again."""
        scene = self.scene
        for sim in (scene.bench.platforms.wechat, scene.bench.platforms.alipay):
            sim.table.chaos = lambda: None
            sim.table.refund_delay_s = 0
            sim.table.fail_refunds.clear()
            sim.notices.copies, sim.notices.delay_s, sim.notices.silent = 1, 0, False
        for _ in range(LAST_STEPS):
            scene.bench.now += 700
            await scene.all_over()
            async with scene.pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT order_number FROM payment JOIN charge_order ON charge_order.number = order_number"
                    " WHERE charge_order.state IN ('held', 'sent', 'accepted', 'charging')"
                )
                open_orders = [number for (number,) in await cursor.fetchall()]
                cursor = await connection.execute("SELECT number FROM refund WHERE state = 'failed'")
                failed = [number for (number,) in await cursor.fetchall()]
                for number in failed:
                    company = scene.scene.company_id
                    await paying.decide_refund(connection, company, number, RefundStep.AGAIN)
            for number in open_orders:
                await scene.charge(number, self._random.choice((0, 87, 200)))

    async def unfinished(self) -> list[str]:
        """Return payments of this history that did not come to an end."""
        found = [await self.scene.row(number) for number in self._payments]
        return [f"{row.number} is {row.state}" for row in found if row.state not in ENDS]


async def disagreements(scene: PaymentScene) -> list[str]:
    """Return whatever does not agree after everything has ended: books, platforms, refunds, and both bills."""
    problems = await scene.problems()
    async with scene.pool.connection() as connection:
        cursor = await connection.execute("SELECT number FROM refund WHERE state = 'done' ORDER BY number")
        ours = [number for (number,) in await cursor.fetchall()]
    theirs = sorted(
        number
        for sim in (scene.bench.platforms.wechat, scene.bench.platforms.alipay)
        for (_, number), refund in sim.table.refunds.items()
        if refund.state == "done"
    )
    if ours != theirs:
        problems.append(f"refunds: ours {len(ours)}, theirs {len(theirs)}")
    last = datetime.datetime.fromtimestamp(scene.bench.now, CHINA).date()
    for name in PLATFORMS:
        account = await scene.account(name)
        day = datetime.date(2025, 12, 1)
        while day <= last:
            await reconciliation.reconcile(scene.pool, account, day)
            day += datetime.timedelta(days=1)
    async with scene.pool.connection() as connection:
        found = await reconciliation.open_differences(connection, scene.scene.company_id)
        unpaid = await rows.value(
            connection,
            "SELECT count(*) FROM charge_order WHERE held_fen > 0 AND NOT EXISTS"
            " (SELECT 1 FROM ledger_transaction WHERE key = 'hold:' || number)",
        )
    problems += [f"{each.kind} {each.payment_number} {each.refund_number}: {each.detail}" for each in found]
    return problems + ([f"{unpaid} charges without money held"] if unpaid else [])


async def _many(url: str, folder: Path, seeds: range, at_once: int = 20) -> int:
    """Run histories of many seeds, `at_once` on one scene; print and count what does not agree."""
    failures = 0
    total: collections.Counter[str] = collections.Counter()
    async with payment_scene(url, folder) as scene:
        for seed in seeds:
            history = PaymentHistory(scene, seed)
            await history.run()
            total += history.done
            problems = await history.unfinished()
            if seed % at_once == at_once - 1 or seed == seeds[-1]:
                problems += await disagreements(scene)
            for problem in problems:
                failures += 1
                print(f"seed {seed}: {problem}")
    print(f"{len(seeds)} histories, {failures} failures; " + ", ".join(f"{n} {k}" for k, n in sorted(total.items())))
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="(default: 100)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="first seed (default: 0)")
    parser.add_argument(
        "--a-scene", type=int, default=200, metavar="N", help="histories on one database (default: 200)"
    )
    args = parser.parse_args()
    failures = 0
    with fleet_postgres.server() as server, tempfile.TemporaryDirectory() as folder:
        for begin in range(args.first, args.first + args.seeds, args.a_scene):
            url = server.fresh()
            end = min(begin + args.a_scene, args.first + args.seeds)
            failures += asyncio.run(_many(url, Path(folder), range(begin, end)))
            server.drop(url)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
