"""The uplink's end of `uplink.sock`: questions to the service, and its changes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, TypeVar

from cabinet.errors import LinkError
from cabinet.link import uplink_protocol
from cabinet.link.uplink_protocol import (
    MAX_LINE,
    Changed,
    UplinkQuestion,
    UplinkRefusal,
    UplinkReply,
    WatchChanges,
)

T = TypeVar("T")

ANSWER_WITHIN_S = 25.0  # a start is answered when the guard has closed the outlet, within 15 s


class UplinkServiceClient(Protocol):
    """Questions to the service; every call raises LinkError if it does not answer, or refuses."""

    async def ask(self, question: UplinkQuestion, kind: type[T]) -> T:
        """Return the answer, of type `kind`."""

    def changes(self) -> AsyncIterator[Changed]:
        """Yield the present state of outbox and cabinet, then each change, at most two a second."""


class ServiceSocket:
    """`UplinkServiceClient` over the socket at `path`: a connection for each question."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, question: UplinkQuestion, kind: type[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await self._connect(question)
                try:
                    reply = await self._reply(reader)
                finally:
                    writer.close()
        except TimeoutError as error:
            raise LinkError(f"{self._path}: no answer within {ANSWER_WITHIN_S:g} s") from error
        if not isinstance(reply, kind):
            raise LinkError(f"{self._path}: {reply.code if isinstance(reply, UplinkRefusal) else 'another answer'}")
        return reply

    async def changes(self) -> AsyncIterator[Changed]:
        reader, writer = await self._connect(WatchChanges())
        try:
            while True:
                reply = await self._reply(reader)
                if not isinstance(reply, Changed):
                    raise LinkError(f"{self._path}: {getattr(reply, 'code', 'another answer')}")
                yield reply
        finally:
            writer.close()

    async def _connect(self, question: UplinkQuestion) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
            writer.write(uplink_protocol.encode(question))
            await writer.drain()
        except OSError as error:
            raise LinkError(f"{self._path}: no service answers ({error.strerror or error})") from error
        return reader, writer

    async def _reply(self, reader: asyncio.StreamReader) -> UplinkReply:
        try:
            line = await reader.readline()
        except (OSError, ValueError) as error:
            raise LinkError(f"{self._path}: {error}") from error
        if not line.endswith(b"\n"):
            raise LinkError(f"{self._path}: the service went away")
        return uplink_protocol.decode_reply(line)
