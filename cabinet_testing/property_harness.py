"""The property company's pages over a real service with a database of its own."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from cabinet.config.keys import Config, PathsSection
from cabinet.model import EndReason, Fault
from cabinet.records import Role
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.store import staff, tokens
from cabinet.store.database import Database
from cabinet.web.live import Streams
from cabinet.web.site import create_app, site_of
from cabinet_testing.html_page import Page
from cabinet_testing.service_harness import FULL, QUICK, ServiceHarness

PASSWORD = "office-password"


class Browser:
    """One browser; `page` gets, `send` posts a form as our own pages would."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def page(self, path: str) -> Page:
        answer = await self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {Page(answer.text).text}"
        return Page(answer.text)

    async def send(self, path: str, files: Any = None, **fields: Any) -> httpx.Response:
        if "form" not in self.client.cookies:
            await self.client.get("/property/sign-in")
        data = {"form_key": self.client.cookies["form"], **fields}
        return await self.client.post(path, data=data, files=files)


class PropertyHarness:
    """A service with its web pages; `browser(role)` returns a browser signed in with that role."""

    def __init__(self, harness: ServiceHarness, service: Service) -> None:
        self.harness = harness
        self.service = service
        self.app = _application(service, harness.config)
        self._clients = contextlib.AsyncExitStack()

    async def browser(self, role: Role | None = "operator", language: str = "zh") -> Browser:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://cabinet.test",
            headers={"accept-language": language},
        )
        await self._clients.enter_async_context(client)
        if role is not None:
            token = f"token-of-{role}"
            await self.service.context.storage.write(lambda c: _sign_in(c, role, token))
            client.cookies.set("staff", token)
        return Browser(client)

    async def close(self) -> None:
        await self._clients.aclose()

    def audit(self) -> list[tuple[str, str, str, str]]:
        """Return the audit log, oldest first: staff, action, subject, details."""
        with self.harness.database() as connection:
            rows = connection.execute("SELECT * FROM audit_entry ORDER BY number").fetchall()
        return [
            (row["staff"], row["action"], row["subject"] or str(row["resident_id"] or ""), row["detail"])
            for row in rows
        ]


_made: list[tuple[Config, Any]] = []


def _application(service: Service, config: Config) -> Any:
    """Return the application over `service`: one for each configuration, because making it takes as long as a test."""
    shared = msgspec.structs.replace(config, paths=PathsSection())  # the folders of each test are its own
    app = next((app for known, app in _made if known == shared), None)
    if app is None:
        app = create_app(service, config)
        _made.append((shared, app))
    else:
        app.state.site = site_of(service, config)
        app.state.streams = Streams(most_of_address=config.service.connections_per_address // 2)
    return app


def _sign_in(connection: Any, role: Role, token: str) -> None:
    name = f"the {role}"
    row = staff.by_name(connection, name)
    who = staff.add(connection, name, QUICK.hash(PASSWORD), 0, role) if row is None else row.id
    if tokens.login(connection, "staff", token, 0, 0) is None:
        tokens.add_login(connection, "staff", who, token, 1 << 59, 1 << 60)


@contextlib.asynccontextmanager
async def property_harness(
    folder: Path, harness: ServiceHarness | None = None, **options: Any
) -> AsyncIterator[PropertyHarness]:
    harness = ServiceHarness(folder, **options) if harness is None else harness
    async with harness.running() as service:
        made = PropertyHarness(harness, service)
        try:
            yield made
        finally:
            await made.close()


def tell(folder: Path, story: Callable[[PropertyHarness], Awaitable[None]], **options: Any) -> None:
    """Run a test's story with a property harness."""

    async def run() -> None:
        async with property_harness(folder, **options) as at:
            await story(at)

    asyncio.run(run())


def staff_id(harness: ServiceHarness, name: str) -> int:
    database = Database(admin.database_path(harness.config), read_only=True)
    try:
        with database.reading() as connection:
            row = staff.by_name(connection, name)
    finally:
        database.close()
    assert row is not None
    return row.id


def secrets_on(page: Page) -> list[str]:
    """Return the generated passwords and tokens on the page."""
    return [word for word in page.words if re.fullmatch(r"[A-Za-z0-9_-]{16,64}", word)]


async def charge(
    at: PropertyHarness, resident_id: int = 1, outlet: int = 3, seconds: int = 300, reason: EndReason = EndReason.FULL
) -> str:
    """Charge to the settlement. Return the session id. A trip is `EndReason.TRIPPED`, by too hot an outlet."""
    code = at.harness.config.outlet[outlet - 1].code
    key = f"key-{at.harness.clock.monotonic_ns()}"
    view = await at.service.charges.start(resident_id, code, FULL, key)
    await at.harness.charge(at.service, outlet, seconds)
    if reason is EndReason.TRIPPED:
        at.harness.guard.trip(outlet, Fault.OUTLET_HOT, latched=False)
    else:
        at.harness.guard.end(outlet, reason)
    await at.harness.settle(at.service)
    return view.session_id
