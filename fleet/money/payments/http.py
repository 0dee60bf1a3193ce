"""Calls to payment platforms over HTTP: bounded times and sizes, and one reading of every failure."""

import logging
from collections.abc import Mapping

import httpx
import msgspec

from fleet.money.payments.port import ResultUnknown

TIMEOUT_S = 10.0
MAX_ANSWER = 32 * 1024 * 1024  # bytes; a bill of a day with 100,000 payments has about 20 MB

for _name in ("httpx", "httpcore"):  # they log addresses, and one has the secret of an official account in its query
    logging.getLogger(_name).setLevel(logging.WARNING)


class PlatformAnswer(msgspec.Struct, frozen=True):
    """An answer with its status; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class PlatformHttp:
    """One pool of connections for all platforms. `transport` is for tests."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S, transport=transport, trust_env=False, headers={"User-Agent": "cabinet-fleet"}
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> PlatformAnswer:
        """Return the answer. Raises ResultUnknown if there is none: the request may have been taken all the same."""
        try:
            async with self._client.stream(method, address, headers=dict(headers or {}), content=body) as answer:
                parts, size = [], 0
                async for part in answer.aiter_bytes():
                    size += len(part)
                    if size > MAX_ANSWER:
                        raise ResultUnknown("too_long", f"an answer of more than {MAX_ANSWER} bytes")
                    parts.append(part)
        except httpx.HTTPError as error:
            raise ResultUnknown("no_answer", type(error).__name__) from error
        return PlatformAnswer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, b"".join(parts))
