"""Viewers of live pages while every outlet charges: additional load of the service."""

import asyncio
import threading
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from cabinet_testing.real_cabinet import RealCabinet, wait_for

LOAD, FULL_SHARE = "lead-acid-48v20ah", 0.2  # full only after hours
FIRST_CARD = 50_000_001
RETRY_S = 3.0  # as stated in the stream


class Charge(NamedTuple):
    """An active charge, and the cookies of its resident."""

    outlet: int
    code: str
    path: str
    cookies: dict[str, str]


def charge_everywhere(cabinet: RealCabinet, outlets: Sequence[tuple[int, str]]) -> list[Charge]:
    """Start a charge at each outlet, each by another resident. Return when all charge."""
    charges = []
    for number, (outlet, code) in enumerate(outlets):
        resident = cabinet.resident(str(FIRST_CARD + number))
        cabinet.plug(outlet, LOAD, FULL_SHARE)
        path = str(resident.start(code).url.path)
        charges.append(Charge(outlet, code, path, dict(resident.client.cookies)))
    wait_for("every outlet", lambda: all(cabinet.phase(outlet) == "charging" for outlet, _ in outlets), 120)
    return charges


class Viewers:
    """Phones that hold the streams of live pages, as htmx does: they read at once and reconnect when a stream ends."""

    def __init__(self, url: str, charges: Sequence[Charge], count: int) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._charges = [charges[number % len(charges)] for number in range(count)]
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._everyone = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._look(),))
        self._connected = 0
        self.refused: list[str] = []
        self.events = 0
        self.bytes_ = 0

    def __enter__(self) -> "Viewers":
        """Start the phones. Return when every phone has received data. Raises RuntimeError if one has not in 60 s."""
        self._thread.start()
        if not self._everyone.wait(60):
            raise RuntimeError(
                f"{self._connected} of {len(self._charges)} phones connected; refused: {self.refused[:3]}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _look(self) -> None:
        phones = [asyncio.create_task(self._hold(charge)) for charge in self._charges]
        await self._over.wait()
        for phone in phones:
            phone.cancel()
        await asyncio.gather(*phones, return_exceptions=True)

    async def _hold(self, charge: Charge) -> None:
        cookies = "; ".join(f"{name}={value}" for name, value in charge.cookies.items())
        request = (
            f"GET {charge.path}/live?shape=charging HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Accept: text/event-stream\r\nCookie: {cookies}\r\n\r\n"
        ).encode()
        first = True
        while True:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                if b" 200 " not in head.partition(b"\r\n")[0]:
                    self.refused.append(head.partition(b"\r\n")[0].decode())
                while part := await reader.read(65_536):
                    if first:
                        first = False
                        self._count()
                    self.bytes_ += len(part)
                    self.events += part.count(b"event:")
            finally:
                writer.close()
            await asyncio.sleep(RETRY_S)

    def _count(self) -> None:
        self._connected += 1
        if self._connected == len(self._charges):
            self._everyone.set()
