"""The web server over a service of values set by hand, as a process of its own; an attacker, as another.

python -m cabinet_testing.door_server serve | idle | trickle | flood PORT
"""

import asyncio
import contextlib
import socket
import sys
from importlib import resources

import msgspec

from cabinet.config import check
from cabinet.web import server
from cabinet.web.site import create_app
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService

ATTACKER = "127.0.0.66"
CONNECTIONS = 600
AGAIN_S = 0.05  # after a connection of the attacker was closed
TRICKLE_S = 0.2
FLOOD = b"GET /s/A7K2 HTTP/1.1\r\nHost: cabinet\r\n\r\n"


async def serve_forever() -> None:
    config = check.parse((resources.files("cabinet") / "examples" / "demo.toml").read_text(encoding="utf-8"))
    config = msgspec.structs.replace(config, service=msgspec.structs.replace(config.service, port=0))
    service = FakeService()
    service.session_views["s1"] = (1, fake_service.session("s1"))
    with server.listen(config.service.host, 0, "service") as listener:
        port = listener.getsockname()[1]
        app = create_app(service, config)
        web = server.make_server(app, config.service, lambda: print(port, flush=True))
        await web.serve(sockets=[listener])


async def attack(kind: str, port: int) -> None:
    """Hold as many connections as the server lets one address have, and ask for the others again and again."""
    tried = 0

    async def one() -> None:
        nonlocal tried
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ATTACKER, 0))
                try:
                    await _misbehave(kind, reader, writer)
                finally:
                    writer.close()
            tried += 1
            if tried == CONNECTIONS:
                print("every place tried", flush=True)
            await asyncio.sleep(AGAIN_S)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def _misbehave(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Misbehave until the server closes the connection."""
    gone = asyncio.ensure_future(reader.read())
    if kind == "idle":
        await gone
    elif kind == "trickle":
        for byte in b"POST /sign-in HTTP/1.1\r\nHost: cabinet\r\nX-Long: " + b"x" * 10_000:
            writer.write(bytes([byte]))
            if (await asyncio.wait({gone}, timeout=TRICKLE_S))[0]:
                return
    else:
        while not gone.done():
            writer.write(FLOOD)
            await writer.drain()
            await asyncio.sleep(0)


if __name__ == "__main__":
    socket.setdefaulttimeout(None)
    asyncio.run(serve_forever() if sys.argv[1] == "serve" else attack(sys.argv[1], int(sys.argv[2])))
