"""Usage logs as a file, sent while the database is read through a cursor: a million records need no more memory."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from litestar.response import Stream

from cabinet import plain_text, texts
from cabinet.errors import Refused
from cabinet.records import UsageRecord
from cabinet.reports import spreadsheet, usage_csv, usage_xlsx
from cabinet.reports.spreadsheet import Cell
from cabinet.web.export import CHUNK_BYTES, MEDIA_TYPES
from fleet.store import companies, usage
from fleet.store.usage import FleetUsageFilter
from fleet.web.context import FleetSite
from fleet.web.property.access import FleetActor

RECORDS_A_CHUNK = 200
AT_ONCE = 2  # files of one web process: each holds a connection while it is read
_turns = asyncio.Semaphore(AT_ONCE)

PlacedRecord = tuple[str, str, UsageRecord]
"""Cabinet, name of the site, record."""


async def respond(site: FleetSite, who: FleetActor, wanted: FleetUsageFilter, form: str, language: str) -> Stream:
    """Return the file. Raises Refused `too_many_records` if a sheet cannot hold them, `too_many_requests`."""
    if _turns.locked():
        raise Refused("too_many_requests")
    chunks = _chunks(site, who, wanted)
    body = await _sheet(site, chunks, language) if form == "xlsx" else _lines(site, chunks, language)
    return Stream(
        body,
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="usage.{form}"',
            "Cache-Control": "private, no-store",
            "Content-Language": language,
        },
    )


async def _chunks(site: FleetSite, who: FleetActor, wanted: FleetUsageFilter) -> AsyncIterator[list[PlacedRecord]]:
    """Yield the records in chunks, by cabinet and number."""
    async with _turns, site.pool.connection() as connection:
        names = {each.id: each.name for each in await companies.sites(connection, who.company_id, who.groups)}
        chunk: list[PlacedRecord] = []
        async for each in usage.all_records(connection, who.company_id, wanted, who.groups):
            chunk.append((each.cabinet, names.get(each.site_id, ""), each.record()))
            if len(chunk) == RECORDS_A_CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _titles(language: str) -> list[str]:
    words = texts.table("fleet", language)
    return [words["usage.cabinet"], words["usage.site"], *usage_csv.header(language)]


async def _lines(site: FleetSite, chunks: AsyncIterator[list[PlacedRecord]], language: str) -> AsyncIterator[bytes]:
    zone = site.zone
    yield (usage_csv.BOM + usage_csv.csv_line(_titles(language))).encode()
    async with contextlib.aclosing(chunks) as closing:  # type: ignore[type-var]  # an async generator
        async for chunk in closing:
            yield "".join(
                usage_csv.csv_line([cabinet, name, *usage_csv.row(record, language, zone)])
                for cabinet, name, record in chunk
            ).encode()


async def _sheet(site: FleetSite, chunks: AsyncIterator[list[PlacedRecord]], language: str) -> AsyncIterator[bytes]:
    """Return the spreadsheet, completed in a separate thread before anything is sent: a partial sheet is unusable."""
    loop, zone = asyncio.get_running_loop(), site.zone

    async def next_chunk() -> list[PlacedRecord] | None:
        return await anext(chunks, None)

    def rows() -> Iterator[list[Cell]]:
        count = 0
        while (chunk := asyncio.run_coroutine_threadsafe(next_chunk(), loop).result()) is not None:
            count += len(chunk)
            if count > usage_xlsx.MAX_ROWS:
                raise usage_xlsx.TooManyRows
            for cabinet, name, record in chunk:
                yield [cabinet, plain_text.one_line(name), *usage_xlsx.cells(record, language, zone)]

    folder = tempfile.TemporaryDirectory(prefix="fleet-export-")
    path = Path(folder.name) / "usage.xlsx"
    titles = [*_titles(language)[:2], *usage_xlsx.titles(language, zone)]
    try:
        await asyncio.to_thread(spreadsheet.write, path, titles, rows())
    except usage_xlsx.TooManyRows as error:
        folder.cleanup()
        raise Refused("too_many_records", most=usage_xlsx.MAX_ROWS) from error
    except BaseException:
        folder.cleanup()
        raise
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    return _parts(path, folder)


async def _parts(path: Path, folder: "tempfile.TemporaryDirectory[str]") -> AsyncIterator[bytes]:
    """Yield the content of the file, then delete its folder."""
    with folder, path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
