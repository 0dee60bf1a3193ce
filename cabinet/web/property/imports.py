"""Import of residents from a spreadsheet: upload, preview, add, and download of the PINs."""

import asyncio
import io
from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from cabinet.errors import Refused
from cabinet.reports import spreadsheet
from cabinet.web import auth, export
from cabinet.web.context import PageRequest
from cabinet.web.property.access import actor, done, field, property_pages, show, texts
from cabinet.web.property.uploads import MAX_UPLOAD, content


@get("/property/residents/import")
async def import_page(request: PageRequest) -> Response[Any]:
    return show(request, await actor(request, "residents"), "residents", "import", plan=None)


@post("/property/residents/import", request_max_body_size=MAX_UPLOAD)
async def plan(request: PageRequest) -> Response[Any]:
    """Show the effect of the file; nothing is changed."""
    who = await actor(request, "residents")
    try:
        uploaded = content(request)
        if not uploaded:
            raise Refused("bad_file")
        made = await property_pages(request).imports.plan(who, uploaded)
    except Refused as refusal:
        return show(request, who, "residents", "import", refusal, plan=None)
    return show(request, who, "residents", "import", plan=made, status=400 if made.mistakes else 200)


@post("/property/residents/import/begin", status_code=303)
async def begin(request: PageRequest) -> Response[Any]:
    who = await actor(request, "residents")
    key = field(auth.form(request), "key", 64)
    await property_pages(request).imports.begin(who, key)
    return done(f"/property/residents/import/{key}")


@get("/property/residents/import/{key:str}")
async def import_state_page(request: PageRequest, key: FromPath[str]) -> Response[Any]:
    who = await actor(request, "residents")
    return show(request, who, "residents", "imported", state=property_pages(request).imports.state(who, key), key=key)


@get("/property/residents/import/{key:str}/pins")
async def pins_file(request: PageRequest, key: FromPath[str]) -> Response[bytes]:
    """Send cards and PINs as a spreadsheet, as long as the import is kept; as text, because then no digit is lost."""
    who = await actor(request, "residents")
    state = property_pages(request).imports.state(who, key)
    t = texts(request)
    titles = [t("import.column_card"), t("import.column_name"), t("import.column_pin")]
    made = io.BytesIO()
    await asyncio.to_thread(spreadsheet.write, made, titles, [[row.card, row.name, row.pin] for row in state.rows])
    return Response(
        made.getvalue(),
        media_type=export.MEDIA_TYPES["xlsx"],
        headers={"Content-Disposition": 'attachment; filename="pins.xlsx"', "Cache-Control": "private, no-store"},
    )


HANDLERS = [import_page, plan, begin, import_state_page, pins_file]
