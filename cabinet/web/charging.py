"""One charge as its resident sees it: waiting, charging, and at the same address the receipt."""

from typing import Any, NamedTuple

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Response, Stream

from cabinet.service.ports import CurvePoint, SessionView
from cabinet.web import auth
from cabinet.web.context import Site, Visit, language_of
from cabinet.web.curve import polyline
from cabinet.web.live import Parts

LIVE_PARTS = ("notice", "announce", "headline", "figures", "curve_words", "bill")


@get("/charge/{session_id:str}")
async def charge_page(request: Visit, session_id: FromPath[str]) -> Response[Any]:
    """Live while it runs, and the receipt once it is settled. Another resident's is not found."""
    viewer = await _Viewer.of(request)
    session = await viewer.session(session_id)
    curve = await viewer.curve(session_id)
    return viewer.site.pages.page(request, "charge.html", **viewer.values(session, curve))


@post("/charge/{session_id:str}/stop", status_code=303)
async def stop(request: Visit, session_id: FromPath[str]) -> Response[Any]:
    resident = await auth.resident(request)
    await Site.of(request).resident.stop(resident.resident_id, session_id)
    return Redirect(f"/charge/{session_id}", status_code=303)


@get("/charge/{session_id:str}/curve")
async def curve_points(request: Visit, session_id: FromPath[str], after: FromQuery[int] = -1) -> Response[bytes]:
    """The curve's points after `after` seconds of powered time, as [[s, W], …]."""
    viewer = await _Viewer.of(request)
    newer = [point for point in await viewer.curve(session_id) if point.at_s > after]
    return Response(msgspec.json.encode(newer), media_type="application/json")


@get("/charge/{session_id:str}/live")
async def live(request: Visit, session_id: FromPath[str], shape: FromQuery[str] = "") -> Stream:
    """The parts of the charge's page, each time one of them changes; ends when it is settled.

    `shape` is the one the page was made in: whenever it takes another, its whole body is sent as `body`.
    """
    viewer = await _Viewer.of(request)
    session = await viewer.session(session_id)
    shown = shape

    async def render() -> tuple[Parts, bool]:
        nonlocal shown
        now = await viewer.session(session_id)
        values = viewer.values(now, await viewer.curve(session_id))
        parts: Parts = {}
        if values["shape"] != shown:
            shown = values["shape"]
            parts["body"] = viewer.part("body", **values)
        parts |= {name: viewer.part(name, **values) for name in LIVE_PARTS}
        return parts, now.state == "settled"

    return viewer.site.streams.respond(request, viewer.site.resident.changes(session.outlet), render)


class _Viewer(NamedTuple):
    """A signed-in resident who looks at a charge."""

    site: Site
    resident_id: int
    language: str
    form_key: str

    @classmethod
    async def of(cls, request: Visit) -> "_Viewer":
        """Refuses signed_out."""
        resident = await auth.resident(request)
        return cls(Site.of(request), resident.resident_id, language_of(request), auth.form_key(request))

    async def session(self, session_id: str) -> SessionView:
        """Refuses unknown_session, and not_yours for another resident's."""
        return await self.site.resident.session(self.resident_id, session_id)

    async def curve(self, session_id: str) -> list[CurvePoint]:
        return await self.site.resident.curve(self.resident_id, session_id)

    def part(self, name: str, **values: Any) -> str:
        folder = "" if name == "notice" else "charge/"
        return self.site.pages.part(self.language, f"{folder}{name}.html", **values)

    def values(self, session: SessionView, curve: list[CurvePoint]) -> dict[str, Any]:
        """What the page and each of its parts are made of."""
        return {
            "session": session,
            "curve": polyline(curve),
            "points": msgspec.json.encode(curve).decode(),
            "energy_only": _energy_only(session),
            "shape": _shape(session),
            "form_key": self.form_key,
            "guard_reachable": self.site.property_.guard_reachable(),
            "cabinet": self.site.property_.cabinet(),
            "electricity_fen": sum(line.amount_fen for line in session.lines if line.kind == "electricity"),
        }


def _shape(session: SessionView) -> str:
    """Which of its forms the page has: what it holds beside the figures depends on this alone."""
    if session.state == "settled":
        return "receipt"
    if session.state == "finished":
        return "settling"
    return "waiting" if session.state in ("authorised", "waiting_for_load") else "charging"


def _energy_only(session: SessionView) -> bool:
    """Whether what it costs is the energy that was delivered, and nothing for time or start."""
    return all(line.kind in ("electricity", "service", "cap") for line in session.lines)


router = Router(
    "/",
    route_handlers=[charge_page, stop, curve_points, live],
    before_request=auth.check_form,
    include_in_schema=False,
)
