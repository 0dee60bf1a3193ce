"""Faults: present faults, all recorded trips, and the readings around each trip."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from litestar import get
from litestar.response import Response

from cabinet.errors import Refused
from cabinet.texts import Texts
from cabinet.trips import table
from cabinet.trips.plot import plot
from cabinet.web.context import CabinetSite, PageRequest, RowNumber, language_of
from cabinet.web.period import number
from cabinet.web.property.access import actor, field, property_pages, show

TRIPS_A_PAGE = 20


@get("/property/faults")
async def faults_page(request: PageRequest) -> Response[Any]:
    who, site = await actor(request, "look"), CabinetSite.of(request)
    asked = {"outlet": field(request.query_params, "outlet", 8)}
    before = number(field(request.query_params, "before", 12))
    trips = await property_pages(request).trips.newest(who, before, number(asked["outlet"]), TRIPS_A_PAGE + 1)
    more = len(trips) > TRIPS_A_PAGE
    trips = trips[:TRIPS_A_PAGE]
    words = Texts("trips", language_of(request))
    older = {**asked, "before": str(trips[-1].number)} if more else {}
    return show(
        request,
        who,
        "faults",
        "faults",
        asked=asked,
        numbers=[outlet.number for outlet in site.config.outlet],
        faulty=[outlet for outlet in await site.overview.outlets() if outlet.fault is not None],
        trips=trips,
        location=lambda mark: table.place(mark, words),
        cause=lambda mark: table.cause(mark, words),
        older=f"/property/faults?{urlencode(older)}" if more else "",
    )


@get("/property/faults/{trip_number:int}")
async def trip_page(request: PageRequest, trip_number: RowNumber) -> Response[Any]:
    who, trips = await actor(request, "look"), property_pages(request).trips
    recording = await trips.recording(who, trip_number)
    wanted = number(field(request.query_params, "outlet", 8))
    outlet = table.lead_outlet(recording) if wanted is None else wanted
    if outlet not in recording.tracks:
        raise Refused("unknown_trip")
    words = Texts("trips", language_of(request))
    ids = dict.fromkeys(mark.session_id for mark in recording.header.marks if mark.session_id is not None)
    titles, *rows = await asyncio.to_thread(table.rows, recording, outlet, words)
    return show(
        request,
        who,
        "faults",
        "trip",
        number=trip_number,
        header=recording.header,
        outlets=list(recording.tracks),
        outlet=outlet,
        when=table.moment(recording.header, CabinetSite.of(request).zone),
        location=lambda mark: table.place(mark, words),
        cause=lambda mark: table.cause(mark, words),
        limits=list(table.limit_texts(recording.header.limits[outlet], words).values()),
        unrecorded=words("unrecorded", count=recording.header.unrecorded) if recording.header.unrecorded else "",
        usage_numbers=[found for each in ids if (found := await trips.usage_number(each)) is not None],
        titles=titles,
        rows=rows,
    )


@get("/property/faults/{trip_number:int}/plot/{outlet:int}")
async def trip_plot(request: PageRequest, trip_number: RowNumber, outlet: RowNumber) -> Response[bytes]:
    who = await actor(request, "look")
    recording = await property_pages(request).trips.recording(who, trip_number)
    if outlet not in recording.tracks:
        raise Refused("unknown_trip")
    words, zone = Texts("trips", language_of(request)), CabinetSite.of(request).zone
    picture = await asyncio.to_thread(plot, recording, outlet, words, zone)
    headers = {"Cache-Control": "private, max-age=3600", "Vary": "Cookie"}
    return Response(picture.encode(), media_type="image/svg+xml", headers=headers)


HANDLERS = [faults_page, trip_page, trip_plot]
