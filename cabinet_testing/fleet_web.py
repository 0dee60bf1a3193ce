"""The fleet's web pages over a real PostgreSQL, with cabinets that are played in the database as the worker would."""

import asyncio
import contextlib
import datetime
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import httpx
import msgspec
from psycopg.types.json import Jsonb

from cabinet.clock import WallTime
from cabinet.model import CostLine, EndReason
from cabinet.records import Role, UsageRecord
from cabinet.uplink.messages import OutletReport, StateReport
from cabinet_testing import fleet_scene
from cabinet_testing.fleet_scene import FleetScene
from cabinet_testing.html_page import Page
from cabinet_testing.service_harness import QUICK
from fleet.config import FleetConfig
from fleet.money.payments.accounts import MerchantAccounts
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.store import database, logins, residents, rows, staff, wallets
from fleet.store import orders as order_rows
from fleet.store.database import Pool
from fleet.web.accounts import token_hash
from fleet.web.notices import CabinetNotices
from fleet.web.site import create_app
from fleet.web.sms import SmsNotSent

PIN, PASSWORD = "472913", "an office password"
ADDRESS = "http://fleet.test"
SESSION = "session-of-the-cabinet"

Reply = Literal["accept", "silent"]


class KeptSms:
    """Implements `SmsPort`: keeps the codes; with `broken`, sends nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.broken = False

    async def send(self, phone: str, code: str) -> None:
        if self.broken:
            raise SmsNotSent("broken")
        self.sent.append((phone, code))


class FleetBrowser:
    """One browser: `page` gets, `send` posts a form as our own pages would."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def page(self, path: str) -> Page:
        answer = await self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {Page(answer.text).text}"
        return Page(answer.text)

    async def send(self, path: str, **fields: Any) -> httpx.Response:
        if "form" not in self.client.cookies:
            await self.client.get("/sign-in")
        return await self.client.post(path, data={"form_key": self.client.cookies["form"], **fields})


class FleetWeb:
    """The application with two companies: `scene` with the cabinets c-one and c-two, `other` with c-other.

    `reply`: how the cabinets answer orders: "accept", "silent", or the code of a refusal.
    """

    def __init__(
        self,
        url: str,
        pool: Pool,
        config: FleetConfig,
        notices: CabinetNotices,
        accounts: MerchantAccounts | None = None,
    ) -> None:
        self.url = url
        self.pool = pool
        self.config = config
        self.sms = KeptSms()
        self.notices = notices
        self.reply: str = "accept"
        self.app: Any = create_app(pool, config, notices, self.sms, accounts)
        self.scene = self.other = FleetScene(0, 0)
        self._clients = contextlib.AsyncExitStack()

    async def build(self) -> None:
        async with self.pool.connection() as connection:
            self.scene = await fleet_scene.add_company(connection, "Green Court")
            self.other = await fleet_scene.add_company(connection, "Blue Yard")
            await fleet_scene.add_cabinet(connection, self.scene, "c-one", outlets=3)
            await fleet_scene.add_cabinet(connection, self.scene, "c-two", outlets=2)
            await fleet_scene.add_cabinet(connection, self.other, "c-other", outlets=2)

    # --- people ------------------------------------------------------------------------------------------------------

    async def resident(self, scene: FleetScene | None = None, fen: int = 1000, **fields: Any) -> int:
        """Add a resident with a card and PIN; return the id."""
        company_id = (scene or self.scene).company_id
        async with self.pool.connection() as connection:
            number = await rows.value(connection, "SELECT count(*) FROM resident")
            card = f"1001{number:04}"
            resident_id = await residents.add(
                connection, company_id, **({"card": card, "pin_hash": QUICK.hash(PIN), "name": "Li Wei"} | fields)
            )
            if fen:
                await wallets.top_up(connection, company_id, resident_id, fen, f"first-{resident_id}")
        return resident_id

    async def browser(
        self, resident_id: int | None = None, language: str = "zh", address: str = "127.0.0.1"
    ) -> FleetBrowser:
        """Return a browser at this network address, signed in as this resident."""
        browser = await self._browser(language, address)
        if resident_id is not None:
            token = f"resident-{resident_id}"
            await self._sign_in(token, resident_id=resident_id)
            browser.client.cookies.set("resident", token)
        return browser

    async def office(
        self,
        role: Role = "operator",
        scene: FleetScene | None = None,
        groups: list[str] | None = None,
        language: str = "zh",
    ) -> FleetBrowser:
        """Return a browser, signed in as a new member of staff."""
        company_id = (scene or self.scene).company_id
        async with self.pool.connection() as connection:
            number = await rows.value(connection, "SELECT count(*) FROM staff")
            staff_id = await staff.add(connection, company_id, f"{role} {number}", QUICK.hash(PASSWORD), role, groups)
        browser = await self._browser(language)
        token = f"staff-{staff_id}"
        await self._sign_in(token, staff_id=staff_id)
        browser.client.cookies.set("staff", token)
        return browser

    async def _browser(self, language: str, address: str = "127.0.0.1") -> FleetBrowser:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=(address, 40_000)),
            base_url=ADDRESS,
            headers={"accept-language": language},
        )
        await self._clients.enter_async_context(client)
        return FleetBrowser(client)

    async def _sign_in(self, token: str, **who: int) -> None:
        async with self.pool.connection() as connection:
            if await logins.get(connection, token_hash(token)) is None:
                await logins.add(connection, token_hash(token), datetime.timedelta(days=1), **who)

    # --- cabinets ----------------------------------------------------------------------------------------------------

    async def show(self, cabinet: str, *outlets: OutletReport, online: bool = True, **fields: Any) -> None:
        """Set the cabinet's last state: these outlets, the others as they were."""
        async with self.pool.connection() as connection:
            row = await rows.value(connection, "SELECT state FROM cabinet WHERE id = %s", (cabinet,))
            state = msgspec.convert(row, StateReport)
            changed = {each.number: each for each in outlets}
            state = msgspec.structs.replace(
                state, outlets=[changed.get(each.number, each) for each in state.outlets], **fields
            )
            free = sum(each.condition == "free" for each in state.outlets)
            await connection.execute(
                "UPDATE cabinet SET state = %s, state_at = now(), heard = now(), online = %s, free_outlets = %s,"
                " fault = %s WHERE id = %s",
                (Jsonb(msgspec.to_builtins(state)), online, free, state.fault, cabinet),
            )
            await connection.execute("SELECT pg_notify('fleet_cabinet', %s)", (cabinet,))

    async def charge(self, number: str, seconds: int = 600, cost_fen: int = 30) -> None:
        """The order's charge runs: fact and state are here."""
        async with self.pool.connection() as connection:
            book = await OrderBook.load(connection, [number])
            if book.may(number, OrderStep.START):
                book.step(number, OrderStep.START, session_id=SESSION)
            await book.write(connection)
            order = book.row(number)
        running = OutletReport(
            order.outlet, "in_use", "outlet_busy", session_id=SESSION, order=number, phase="charging",
            power_mw=148_000, energy_mwh=148 * seconds * 1000 // 3600, powered_s=seconds, charging_s=seconds,
            cost_fen=cost_fen,
        )  # fmt: skip
        await self.show(order.cabinet, running)

    async def settle(self, number: str, cost_fen: int = 44) -> None:
        """The usage record of the order's charge arrives, and is booked."""
        async with self.pool.connection() as connection:
            order = await rows.one(
                connection, order_rows.OrderRow, "SELECT * FROM charge_order WHERE number = %s", (number,)
            )
            assert order is not None
            last = await rows.value(
                connection, "SELECT coalesce(max(number), 0) FROM usage_record WHERE cabinet = %s", (order.cabinet,)
            )
            record = usage_record(last + 1, order.outlet, cost_fen, order.held_fen)
            await add_record(connection, order.company_id, order.cabinet, record, number)
            book = await OrderBook.load(connection, [number])
            book.settle(number, record.electricity_fen, record.service_fen, record.number, record.session_id)
            await book.write(connection)
        await self.show(order.cabinet, OutletReport(order.outlet, "free"))

    async def play(self) -> None:
        """Answer orders as `reply` says, until cancelled."""
        async with await database.connect(self.url, autocommit=True) as listening:
            await listening.execute("LISTEN fleet_order")
            await self._answer_all()
            async for _ in listening.notifies():
                await self._answer_all()

    async def _answer_all(self) -> None:
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT number, cabinet FROM charge_order WHERE state = 'held'"
                " OR (stop_wanted IS NOT NULL AND state IN ('accepted', 'charging'))"
            )
            found = await cursor.fetchall()
            book = await OrderBook.load(connection, [number for number, _ in found])
            for number, cabinet in found:
                if book.row(number).stop_wanted is not None:
                    continue
                life = datetime.timedelta(seconds=30)
                book.step(number, OrderStep.SEND, sent=book.now, not_after=book.now + life)
                if self.reply == "accept":
                    book.step(number, OrderStep.ACCEPT, answered=book.now, session_id=SESSION)
                elif self.reply != "silent":
                    book.refuse(number, self.reply)
                await connection.execute("SELECT pg_notify('fleet_cabinet', %s)", (cabinet,))
            await book.write(connection)
        for number, _ in found:
            if book.row(number).stop_wanted is not None:
                await self.settle(number)

    def close_pages(self) -> None:
        """End all live pages."""
        self.notices.close()

    async def close(self) -> None:
        await self._clients.aclose()


def usage_record(number: int, outlet: int, cost_fen: int, held_fen: int, **changes: Any) -> UsageRecord:
    started = WallTime(1_795_500_000_000 + number * 60_000, True)
    values: dict[str, Any] = {
        "number": number, "order_number": f"DEMO-{number:08}", "session_id": SESSION, "site_id": "DEMO",
        "outlet": outlet, "started": started, "ended": WallTime(started.unix_ms + 3_600_000, True),
        "powered_s": 3600, "charging_s": 3555, "energy_mwh": 352_900, "peak_power_mw": 181_600,
        "mean_power_mw": 150_000,
        "lines": [CostLine("electricity", 352_900, "mWh", 60, cost_fen - 14, "00:00-24:00"),
                  CostLine("time", 3555, "s", 14, 14, "0-")],
        "electricity_fen": cost_fen - 14, "service_fen": 14, "total_fen": cost_fen, "held_fen": held_fen,
        "refund_fen": held_fen - cost_fen, "end_reason": EndReason.FULL, "fault": None, "tariff_version": "2026-11",
        "previous_hash": f"{number - 1:064x}", "record_hash": f"{number:064x}",
    }  # fmt: skip
    return UsageRecord(**(values | changes))


async def add_record(
    connection: database.Connection, company_id: int, cabinet: str, record: UsageRecord, order: str | None = None
) -> None:
    """Mirror a record as the worker would; its chain is not checked here."""
    body = msgspec.json.encode(msgspec.structs.replace(record, record_hash="")).decode()
    await connection.execute(
        "INSERT INTO usage_record (cabinet, epoch, number, company_id, site_id, session_id, order_number, outlet,"
        " started_unix_ms, ended_unix_ms, energy_mwh, electricity_fen, service_fen, end_reason, body, previous_hash,"
        " record_hash) SELECT id, 'epoch-1', %s, company_id, site_id, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s"
        " FROM cabinet WHERE id = %s AND company_id = %s",
        (record.number, record.session_id, order, record.outlet, record.started.unix_ms, record.ended.unix_ms,
         record.energy_mwh, record.electricity_fen, record.service_fen, record.end_reason, body, record.previous_hash,
         record.record_hash, cabinet, company_id),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def fleet_web(
    url: str, accounts: Callable[[FleetConfig], MerchantAccounts] | None = None, **sections: Any
) -> AsyncIterator[FleetWeb]:
    """Serve the pages over the database at `url`; a played worker answers orders. `accounts`: for payments."""
    config = fleet_scene.config(url)
    for name, changes in sections.items():
        config = msgspec.structs.replace(config, **{name: msgspec.structs.replace(getattr(config, name), **changes)})
    notices = CabinetNotices(url)
    async with database.pool(url, 8) as pool:
        made = FleetWeb(url, pool, config, notices, None if accounts is None else accounts(config))
        await made.build()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(notices.run()), group.create_task(made.play())]
            await notices.listening.wait()
            try:
                yield made
            finally:
                notices.close()
                await made.close()
                await database.end_listeners(tasks)


def order_of(answer: httpx.Response) -> str:
    """Return the order's number in a redirection to its page."""
    match = re.fullmatch(r"/charge/([A-Z0-9-]+)", answer.headers["location"])
    assert match is not None, answer.headers["location"]
    return match[1]
