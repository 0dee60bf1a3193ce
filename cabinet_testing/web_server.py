"""The web server on a free port of this machine, in the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from cabinet.config.keys import Config
from cabinet.web import server as web_server
from cabinet.web.connections import ConnectionLimits
from cabinet.web.site import create_app
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService


@contextlib.asynccontextmanager
async def listening(
    config: Config,
    limits: ConnectionLimits | None = None,
    app: Any = None,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    proxies: tuple[str, ...] = (),
) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    """Serve `app`, by default the pages over a fake service. Yield the port and the server."""
    service = msgspec.structs.replace(
        config.service, port=0, trusted_proxies=proxies,
        tls_certificate=str(certificate or ""), tls_key=str(key or ""),
    )  # fmt: skip
    config = msgspec.structs.replace(config, service=service)
    if app is None:
        fake = FakeService()
        fake.session_views["s1"] = (1, fake_service.session("s1"))
        app = create_app(fake, config)
    with web_server.listen(service.host, 0, "service") as listener:
        serving = asyncio.Event()
        server = web_server.make_server(app, service, serving.set, limits)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await serving.wait()
        try:
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await task


def body_of(head: bytes) -> int:
    """The length that an answer's head gives its body."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise AssertionError(f"no length in {head!r}")
