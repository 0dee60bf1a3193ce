"""HTTP API for programs of the property: usage log, charges and state, with a bearer token.

OpenAPI describes it at `/api/schema`, and a page for people is at `/api/docs` (`reader`); errors are problem+json.
"""

import datetime
import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import Router, get
from litestar.config.compression import CompressionConfig
from litestar.datastructures import ResponseHeader
from litestar.handlers import BaseRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.middleware.compression import CompressionMiddleware
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.params import QueryParameter
from litestar.response import Response, Stream
from litestar.types import Guard

from cabinet.clock import days_ms
from cabinet.errors import Refused
from cabinet.model import Snapshot
from cabinet.records import SignedClosing, UsageFilter, UsageHead, UsageRecord
from cabinet.reports import usage_csv
from cabinet.service.ports import (
    CABINET_READ,
    SESSIONS_READ,
    USAGE_READ,
    CabinetView,
    DayFigures,
    OutletView,
    SessionView,
)
from cabinet.web import export
from cabinet.web.context import CabinetSite, Connection, PageRequest, language_of
from cabinet.web.errors import Problem

MAX_RECORDS = 1000
NOW = {"Cache-Control": "no-store"}
MAX_TOKEN = 256


def needs(scope: str) -> Guard:
    """Return a guard that admits requests with a token of `scope`. It raises Refused `wrong_token`, `scope_missing`."""

    async def check(connection: Connection, _: BaseRouteHandler) -> None:
        scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
            raise Refused("wrong_token")
        await CabinetSite.of(connection).accounts.check_scope(token.strip(), scope)

    return check


def problem(description: str) -> ResponseSpec:
    return ResponseSpec(
        Problem, description=description, media_type="application/problem+json", generate_examples=False
    )


PROBLEMS = {
    400: problem("a parameter does not fit"),
    401: problem("no token, or not a valid one"),
    403: problem("the token is for other things"),
    500: problem("a fault of the cabinet; its log has the whole of it"),
    503: problem("not now: storage damaged, or the guard is not reachable"),
}
CODES = ("wrong_token", "scope_missing", "too_many_records", "guard_unreachable", "storage_damaged")
"""Codes of all problems that the API distinguishes."""


@dataclass
class WithCsv(Operation):
    """Operation that can answer in CSV."""

    def __post_init__(self) -> None:
        _also(self, "text/csv")


@dataclass
class WithFiles(Operation):
    """Operation that can answer in each of the file formats."""

    def __post_init__(self) -> None:
        for media_type in export.MEDIA_TYPES.values():
            _also(self, media_type)


def _also(operation: Operation, media_type: str) -> None:
    answer = (operation.responses or {})["200"]
    if isinstance(answer, OpenAPIResponse) and answer.content is not None:
        answer.content.setdefault(media_type, OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)))


Form = Literal["jsonl", "csv", "xlsx"]
After = Annotated[int, QueryParameter(ge=0, le=2**53, description="number of the last record already known")]
FromDay = Annotated[
    datetime.date | None, QueryParameter(name="from", description="first day, by end of charge, site's time")
]
ToDay = Annotated[datetime.date | None, QueryParameter(name="to", description="last day, included")]
OutletNumber = Annotated[int | None, QueryParameter(ge=1, le=40, description="of this outlet only")]
Language = Annotated[Literal["zh", "en"] | None, QueryParameter(description="language of titles and words")]


@get(
    "/usage",
    guards=[needs(USAGE_READ)],
    operation_class=WithCsv,
    summary="Records of the usage log",
    response_headers=[
        ResponseHeader(name="X-Next-After", documentation_only=True, description="`after` to read on with"),
        ResponseHeader(name="ETag", documentation_only=True, description="for If-None-Match"),
    ],
    description=(
        "Settled sessions with a number above `after`, in order. To read on, ask again with `after` set to the value "
        "of the header X-Next-After; while there may be more at once, Link: rel=next holds that address. "
        "JSON lines carry every field as stored (integers: fen, mWh, mW); CSV is for spreadsheets (UTF-8 with BOM). "
        "An answer that has not changed since the ETag in If-None-Match is 304."
    ),
    responses={
        200: ResponseSpec(
            UsageRecord,
            description="one record a line",
            media_type="application/x-ndjson",
            generate_examples=False,
        ),
        304: ResponseSpec(None, description="not changed", generate_examples=False),
        **PROBLEMS,
    },
)
async def usage(
    request: PageRequest,
    after: After = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_RECORDS, description="at most so many records")] = 500,
    format: Annotated[Literal["jsonl", "csv"], QueryParameter(description="form of the answer")] = "jsonl",
    lang: Language = None,
    from_day: FromDay = None,
    to_day: ToDay = None,
    outlet: OutletNumber = None,
) -> Response[bytes]:
    """Return a page of the usage log as JSON lines or CSV."""
    site = CabinetSite.of(request)
    records = await site.property_.log.records(_wanted(site, after, from_day, to_day, outlet), limit)
    next_after = records[-1].number if records else after
    headers = {"X-Next-After": str(next_after), "Cache-Control": "private, no-cache"}
    if len(records) == limit:
        changed = {"after": str(next_after), "limit": str(limit), "format": format}
        kept = {name: value for name, value in request.query_params.items() if name not in changed}
        query = urlencode({**changed, **kept})
        headers["Link"] = f'<{_own_address(request)}{request.url.path}?{query}>; rel="next"'
    if format == "jsonl":
        body = b"".join(usage_csv.json_line(record) for record in records)
        return _unless_known(request, body, "application/x-ndjson", headers)
    language = lang or language_of(request)
    zone = site.zone
    text = "".join(usage_csv.csv_lines(records, language, zone))
    headers["Content-Language"] = language
    return _unless_known(request, text.encode(), "text/csv", headers)


def _wanted(
    site: CabinetSite, after: int, from_day: datetime.date | None, to_day: datetime.date | None, outlet: int | None
) -> UsageFilter:
    return UsageFilter(after, *days_ms(from_day, to_day, site.zone), outlet)


def _unless_known(request: PageRequest, body: bytes, media_type: str, headers: dict[str, str]) -> Response[bytes]:
    """Return the answer, or 304 if the client already has exactly this answer."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or f"W/{etag}" in known:
        return Response(b"", status_code=304, media_type=media_type, headers={**headers, "ETag": etag})
    return Response(body, media_type=media_type, headers={**headers, "ETag": etag})


@get(
    "/usage/export",
    guards=[needs(USAGE_READ)],
    operation_class=WithFiles,
    summary="The usage log as one file",
    description="Sent as it is read, however long it is. A spreadsheet (xlsx) holds 1,048,575 records at most.",
    responses={
        200: ResponseSpec(bytes, description="a file", media_type="text/csv", generate_examples=False),
        **PROBLEMS,
    },
)
async def usage_export(
    request: PageRequest,
    format: Annotated[Form, QueryParameter(description="form of the file")] = "csv",
    lang: Language = None,
    from_day: FromDay = None,
    to_day: ToDay = None,
    outlet: OutletNumber = None,
) -> Stream:
    site = CabinetSite.of(request)
    wanted = _wanted(site, 0, from_day, to_day, outlet)
    return await export.respond(site, wanted, format, lang or language_of(request))


class Closings(msgspec.Struct):
    """All signed closings; `key` is the public key (Ed25519, base64) that their signatures must match."""

    key: str
    closings: list[SignedClosing]


@get(
    "/usage/closings",
    guards=[needs(USAGE_READ)],
    summary="The signed closings of every month",
    responses=PROBLEMS,
)
async def usage_closings(request: PageRequest) -> Response[Closings]:
    """Return the closings. Copies kept elsewhere reveal a log that was rewritten as a whole."""
    log = CabinetSite.of(request).property_.log
    return Response(Closings(await log.public_key(), await log.closings()))


class Heads(msgspec.Struct):
    heads: list[UsageHead]


@get(
    "/usage/heads",
    guards=[needs(USAGE_READ)],
    summary="The last record of every day, with its hash",
    responses=PROBLEMS,
)
async def usage_heads(request: PageRequest, from_day: FromDay = None, to_day: ToDay = None) -> Response[Heads]:
    """Return the heads. If copies are fetched daily and kept elsewhere, `cabinet usage verify --heads` finds later
    changes and truncation."""
    site = CabinetSite.of(request)
    wanted = _wanted(site, 0, from_day, to_day, None)
    return Response(Heads(await site.property_.log.heads(wanted.from_unix_ms, wanted.to_unix_ms)))


@get("/outlets", guards=[needs(CABINET_READ)], summary="Every outlet as it is now", responses=PROBLEMS)
async def outlets(request: PageRequest) -> Response[list[OutletView]]:
    """Return the public state of each outlet, as seen at the cabinet, and the reason if it cannot start now."""
    return Response(await CabinetSite.of(request).overview.outlets(), headers=NOW)


@get("/cabinet", guards=[needs(CABINET_READ)], summary="The cabinet as a whole, now", responses=PROBLEMS)
async def cabinet(request: PageRequest) -> Response[CabinetView]:
    """Return a fault that has opened every outlet, the load of the feed, and the number of waiting residents."""
    return Response(CabinetSite.of(request).overview.cabinet(), headers=NOW)


@get("/readings", guards=[needs(CABINET_READ)], summary="Everything the guard measures, now", responses=PROBLEMS)
async def readings(request: PageRequest) -> Response[Snapshot]:
    """Return the snapshot that the guard publishes several times a second: each value with its time and quality."""
    return Response(CabinetSite.of(request).overview.snapshot(), headers=NOW)


@get("/sessions", guards=[needs(SESSIONS_READ)], summary="Charges that began today", responses=PROBLEMS)
async def sessions(request: PageRequest) -> Response[list[SessionView]]:
    """Return running and ended charges of the site's date, without the residents' identity."""
    return Response(await CabinetSite.of(request).overview.todays_sessions(), headers=NOW)


@get("/today", guards=[needs(SESSIONS_READ)], summary="Today in figures", responses=PROBLEMS)
async def today(request: PageRequest) -> Response[DayFigures]:
    """Return charges, energy and revenue of the site's date so far; electricity is listed separately."""
    return Response(await CabinetSite.of(request).property_.figures.today(), headers=NOW)


def _own_address(request: PageRequest) -> str:
    """Return the site's address as the client uses it: a proxy may terminate https, a test may use another port."""
    public = CabinetSite.of(request).config.site.public_url
    if request.headers.get("host") == urlsplit(public).netloc:
        return public
    return str(request.base_url).rstrip("/")


class Health(msgspec.Struct):
    """Health of the service for residents; `accepting` is the reason why no session can start, or null."""

    guard_reachable: bool
    accepting: str | None


@get("/healthz", include_in_schema=False)
async def healthz(request: PageRequest) -> Response[Any]:
    """Answer 200 if new sessions can start, else 503 and the reason. For monitoring; no token is needed."""
    cabinet_ = CabinetSite.of(request).overview
    health = Health(cabinet_.guard_reachable(), cabinet_.accepting())
    well = health.guard_reachable and health.accepting is None
    return Response(health, status_code=200 if well else 503, headers={"Cache-Control": "no-store"})


# Only the API is compressed: on a page with a secret next to client-chosen text, the length would reveal the secret.
COMPRESSED = DefineMiddleware(CompressionMiddleware, config=CompressionConfig("gzip", minimum_size=1000))

router = Router(
    "/api/v1",
    route_handlers=[usage, usage_export, usage_closings, usage_heads, outlets, cabinet, readings, sessions, today],
    middleware=[COMPRESSED],
    tags=["property"],
    security=[{"token": []}],
)
