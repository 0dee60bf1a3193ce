"""Usage log as a file, sent while it is read: in steps of 100 records, because other requests must not wait."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
from litestar.response import Stream

from cabinet.errors import Refused
from cabinet.records import UsageFilter, UsageRecord
from cabinet.reports import usage_csv, usage_xlsx
from cabinet.service.property_ports import UsageLogPort
from cabinet.web.context import CabinetSite

RECORDS_A_READ = 100  # two milliseconds of work
CHUNK_BYTES = 64 * 1024
MEDIA_TYPES = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


async def respond(site: CabinetSite, wanted: UsageFilter, form: str, language: str) -> Stream:
    """Return the file; `form` is one of MEDIA_TYPES. Raises Refused `too_many_records` if a sheet cannot hold them."""
    name = f"usage-{site.config.site.site_id}.{form}"
    body = await _sheet(site, wanted, language) if form == "xlsx" else _lines(site, wanted, form, language)
    return Stream(
        body,
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
            "Content-Language": language,
        },
    )


async def _pages(log: UsageLogPort, wanted: UsageFilter) -> AsyncIterator[list[UsageRecord]]:
    """Yield pages of records: at least one, which may be empty."""
    while True:
        records = await log.records(wanted, RECORDS_A_READ)
        yield records
        if len(records) < RECORDS_A_READ:
            return
        wanted = msgspec.structs.replace(wanted, after=records[-1].number)


async def _lines(site: CabinetSite, wanted: UsageFilter, form: str, language: str) -> AsyncIterator[bytes]:
    zone = site.zone
    first = True
    async for records in _pages(site.property_.log, wanted):
        if form == "jsonl":
            yield b"".join(map(usage_csv.json_line, records))
        else:
            yield "".join(usage_csv.csv_lines(records, language, zone, with_header=first)).encode()
        first = False


async def _sheet(site: CabinetSite, wanted: UsageFilter, language: str) -> AsyncIterator[bytes]:
    """Return the spreadsheet, completed in a separate thread before anything is sent: a partial sheet is unusable."""
    zone = site.zone
    loop = asyncio.get_running_loop()
    pages = _pages(site.property_.log, wanted)

    async def next_page() -> list[UsageRecord] | None:
        return await anext(pages, None)

    def records() -> Iterator[UsageRecord]:
        while (page := asyncio.run_coroutine_threadsafe(next_page(), loop).result()) is not None:
            yield from page

    folder = tempfile.TemporaryDirectory(prefix="cabinet-export-")
    path = Path(folder.name) / "usage.xlsx"
    try:
        await asyncio.to_thread(usage_xlsx.write, path, records(), language, zone)
    except usage_xlsx.TooManyRows as error:
        folder.cleanup()
        raise Refused("too_many_records", most=usage_xlsx.MAX_ROWS) from error
    except BaseException:
        folder.cleanup()
        raise
    return _chunks(path, folder)


async def _chunks(path: Path, folder: "tempfile.TemporaryDirectory[str]") -> AsyncIterator[bytes]:
    """Yield the content of the file, then delete its folder."""
    with folder, path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
