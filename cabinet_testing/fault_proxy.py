"""A TCP proxy with the faults of a mobile network: cuts, delay, and loss as the stalls that TCP makes of it.

Runs in a thread of its own, so a test's event loop, a process or a campaign may use it. A chunk is what one side wrote
at once: over TLS about one message.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

CHUNK_BYTES = 64 * 1024
FIRST_RETRANSMISSION_S = 0.2  # Linux's shortest; it doubles with each further loss of the same segment
MAX_STALL_S = 6.0
UP_WITHIN_S = 10


class FaultProxy:
    """Proxy from `port` on loopback to a target. All faults may be changed at any time, from any thread."""

    def __init__(self, host: str, port: int, seed: int = 0, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._target = (host, port)
        self._listen = listen
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut_at: int | None = None
        self.port = 0
        self.chunks = 0  # forwarded, in both directions
        self.bytes = 0
        self.connections = 0  # made since the start
        self.cuts = 0
        self.accepting = True
        self.delay_s = 0.0  # of each chunk, in each direction
        self.loss = 0.0  # share of the segments that are lost

    def start(self) -> None:
        self._thread.start()
        self._call(self._open)

    def stop(self) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(UP_WITHIN_S)
        self._loop.close()

    def cut(self) -> None:
        """Break all present connections; new ones are accepted as before."""
        self._call(self._cut)

    def cut_at(self, number: int) -> None:
        """Break all connections instead of forwarding the chunk with this number from now on (0: the next), once."""
        self._cut_at = self.chunks + number

    def down(self) -> None:
        """Break all connections, and every new one, until `up`."""
        self.accepting = False
        self.cut()

    def up(self) -> None:
        self.accepting = True

    def _call(self, work: Callable[[], "asyncio.Future[T] | T"]) -> None:
        async def run() -> None:
            found = work()
            if asyncio.iscoroutine(found):
                await found

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(UP_WITHIN_S)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, *self._listen)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    def _cut(self) -> None:
        self.cuts += 1
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward in order, each chunk after its delay; chunks may be under way at once, as on a long line."""
        line: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

        async def arrive() -> None:
            while (item := await line.get()) is not None:
                due, chunk = item
                await asyncio.sleep(due - self._loop.time())
                if self._cut_at is not None and self.chunks >= self._cut_at:
                    self._cut_at = None
                    self._cut()
                    return
                self.chunks += 1
                self.bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
            writer.close()

        arriving = asyncio.ensure_future(arrive())
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                line.put_nowait((self._loop.time() + self.delay_s + self._stall_s(), chunk))
        line.put_nowait(None)
        with contextlib.suppress(OSError):
            await arriving

    def _stall_s(self) -> float:
        """Return how long a chunk waits for retransmissions: TCP loses nothing, it is late."""
        stall_s, timeout_s = 0.0, FIRST_RETRANSMISSION_S
        while stall_s < MAX_STALL_S and self._random.random() < self.loss:
            stall_s += timeout_s
            timeout_s *= 2
        return min(stall_s, MAX_STALL_S)


@contextlib.contextmanager
def fault_proxy(host: str, port: int, seed: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy for the block."""
    proxy = FaultProxy(host, port, seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
