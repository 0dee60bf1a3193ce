"""The HTTP API for programs of the property company: usage log and outlets, by bearer token.

Described by OpenAPI at `/api/schema`; errors are problem+json.
"""

import zoneinfo
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from litestar import Router, get
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Response

from cabinet import usage_table
from cabinet.errors import Refused
from cabinet.service.ports import USAGE_READ, OutletView, UsageRecord
from cabinet.web.context import Connection, Site, Visit, language_of
from cabinet.web.errors import Problem

MOST_RECORDS = 1000
LONGEST_TOKEN = 256


async def bearer(connection: Connection, _: BaseRouteHandler) -> None:
    """Lets a request with a valid token pass; refuses wrong_token."""
    scheme, _space, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN:
        raise Refused("wrong_token")
    await Site.of(connection).property_.token_allows(token.strip(), USAGE_READ)


PROBLEMS = {
    status: ResponseSpec(Problem, description=text, media_type="application/problem+json", generate_examples=False)
    for status, text in ((400, "a parameter does not fit"), (401, "no token, or not a valid one"))
}


@get(
    "/usage",
    summary="Records of the usage log",
    description=(
        "Settled sessions with a number above `after`, in order. To read on, ask again with `after` set to the value "
        "of the header X-Next-After; while there may be more at once, Link: rel=next holds that address. "
        "JSON lines carry every field as stored (integers: fen, mWh, mW); CSV is for spreadsheets (UTF-8 with BOM)."
    ),
    responses={
        200: ResponseSpec(
            UsageRecord,
            description="one record a line",
            media_type="application/x-ndjson",
            generate_examples=False,
        ),
        **PROBLEMS,
    },
)
async def usage(
    request: Visit,
    after: Annotated[int, QueryParameter(ge=0, le=2**53, description="number of the last record already known")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_RECORDS, description="at most so many records")] = 500,
    format: Annotated[Literal["jsonl", "csv"], QueryParameter(description="form of the answer")] = "jsonl",
    lang: Annotated[Literal["zh", "en"] | None, QueryParameter(description="language of the CSV's words")] = None,
) -> Response[bytes]:
    """A page of the usage log as JSON lines or CSV."""
    site = Site.of(request)
    records = await site.property_.usage(after, limit)
    next_after = records[-1].number if records else after
    headers = {"X-Next-After": str(next_after), "Cache-Control": "no-store"}
    if len(records) == limit:
        language = f"&lang={lang}" if lang else ""
        here = _own_address(request) + request.url.path
        headers["Link"] = f'<{here}?after={next_after}&limit={limit}&format={format}{language}>; rel="next"'
    if format == "jsonl":
        body = b"".join(usage_table.json_line(record) for record in records)
        return Response(body, media_type="application/x-ndjson", headers=headers)
    language = lang or language_of(request)
    zone = zoneinfo.ZoneInfo(site.config.site.timezone)
    text = "".join(usage_table.csv_lines(records, language, zone))
    headers["Content-Language"] = language
    return Response(text.encode(), media_type="text/csv", headers=headers)


@get("/outlets", summary="Every outlet as it is now", responses=PROBLEMS)
async def outlets(request: Visit) -> Response[list[OutletView]]:
    return Response(Site.of(request).property_.outlets(), headers={"Cache-Control": "no-store"})


def _own_address(request: Visit) -> str:
    """The site's address as the asker reaches it: a proxy may end https, a test may use another port."""
    public = Site.of(request).config.site.public_url
    if request.headers.get("host") == urlsplit(public).netloc:
        return public
    return str(request.base_url).rstrip("/")


class Health(msgspec.Struct):
    """Whether the cabinet can serve residents; `accepting` names what hinders new sessions, or is null."""

    guard_reachable: bool
    accepting: str | None


@get("/healthz", include_in_schema=False)
async def healthz(request: Visit) -> Response[Any]:
    """200 while new sessions can start, else 503 and why; for monitoring, and open to anybody."""
    property_ = Site.of(request).property_
    health = Health(property_.guard_reachable(), property_.accepting())
    well = health.guard_reachable and health.accepting is None
    return Response(health, status_code=200 if well else 503, headers={"Cache-Control": "no-store"})


router = Router(
    "/api/v1",
    route_handlers=[usage, outlets],
    guards=[bearer],
    tags=["property"],
    security=[{"token": []}],
)
