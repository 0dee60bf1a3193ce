"""Pages of a fleet with something on each of them, on a port of this machine, with a database of their own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import uvicorn

from cabinet.model import Fault
from cabinet.uplink.messages import OutletReport
from cabinet_testing import fleet_postgres
from cabinet_testing.fleet_web import FleetWeb, add_record, fleet_web, order_of, usage_record

KEY = "k" * 32


class FleetPages:
    """`url` is the address; `resident` and `staff` are tokens; `addresses` are those of all pages worth a look."""

    def __init__(self) -> None:
        self.url = ""
        self.resident = self.staff = ""
        self.addresses: list[str] = []
        self._ready = threading.Event()
        self._over: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def open(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        if self._loop is not None and self._over is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with fleet_postgres.server() as postgres:
                asyncio.run(self._serve(postgres.fresh()))
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()

    async def _serve(self, database_url: str) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with fleet_web(database_url) as at:
            await self._prepare(at)
            config = uvicorn.Config(at.app, port=0, log_config=None, ws="none", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0)
            self.url = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname()[:2])
            self._ready.set()
            await self._over.wait()
            at.close_pages()
            server.should_exit = True
            await serving

    async def _prepare(self, at: FleetWeb) -> None:
        """Fill the pages: a receipt, a running charge, an order that was refused, faults, records of the log."""
        resident_id = await at.resident(fen=5000)
        phone = await at.browser(resident_id)
        settled = order_of(await phone.send("/s/C-TWO-1/start", kind="full", request_key="a" * 32))
        await at.charge(settled)
        await at.settle(settled)
        at.reply = "outlet_hot"
        await phone.send("/s/C-ONE-2/start", kind="full", request_key="b" * 32)
        at.reply = "accept"
        running = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        await at.charge(running)
        await at.show("c-one", OutletReport(2, "needs_service", "fault_latched", fault=Fault.SHORT_CIRCUIT))
        async with at.pool.connection() as connection:
            for number in range(1, 5):
                await add_record(connection, at.scene.company_id, "c-one", usage_record(number, 1, 44, 500))
            await connection.execute("INSERT INTO alarm VALUES ('c-one', 2, 'short_circuit', 1795500000000, NULL)")
            await connection.execute(
                "INSERT INTO log_alarm (cabinet, epoch, kind, number, detail)"
                " VALUES ('c-one', 'epoch-1', 'gap', 3, 'record 2 is followed by record 4')"
            )
            await connection.execute(
                "INSERT INTO trip VALUES ('c-one', 'epoch-1', 3, 2, 'short_circuit', 1795500000000, 61200, NULL)"
            )
            cursor = await connection.execute("SELECT number FROM charge_order WHERE state = 'given_back'")
            [(refused,)] = await cursor.fetchall()
        await at.show("c-two", online=False)
        office = await at.office()
        self.resident, self.staff = phone.client.cookies["resident"], office.client.cookies["staff"]
        self.addresses = [
            *("/", "/s/C-ONE-1", "/s/C-ONE-2", "/s/C-TWO-1", "/account", "/account/charges", "/account/statement"),
            *(f"/charge/{number}" for number in (settled, running, refused)),
            *("/property", "/property/cabinets/c-one", "/property/cabinets/c-two", "/property/usage?by=cabinet"),
            *("/property/usage/c-one/epoch-1/2", "/property/residents", f"/property/residents/{resident_id}"),
            *("/property/tariffs", "/property/staff", "/property/audit"),
        ]


@contextlib.contextmanager
def served_fleet() -> Iterator[FleetPages]:
    pages = FleetPages()
    pages.open()
    try:
        yield pages
    finally:
        pages.close()
