"""Page of one charge for its resident: waiting, charging, and at the same address the receipt."""

from typing import Any, NamedTuple

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Response, Stream

from cabinet.billing.tariff import parts_fen
from cabinet.records import CurvePoint
from cabinet.service.ports import SessionView
from cabinet.web import auth
from cabinet.web.context import PageRequest, WebSite, language_of
from cabinet.web.curve import plot_data, polyline
from cabinet.web.live import Parts, Streams
from cabinet.web.pages import Pages

LIVE_PARTS = ("notice", "announce", "headline", "figures", "curve_words", "bill")


@get("/charge/{session_id:str}")
async def charge_page(request: PageRequest, session_id: FromPath[str]) -> Response[Any]:
    """Show the running charge live, or its receipt after settlement. Another resident's charge gives 404."""
    viewer = await _Viewer.of(request)
    session = await viewer.session(session_id)
    curve = await viewer.curve(session_id)
    return Pages.of(request).page(request, "charge.html", **await viewer.values(session, curve))


@post("/charge/{session_id:str}/stop", status_code=303)
async def stop(request: PageRequest, session_id: FromPath[str]) -> Response[Any]:
    resident = await auth.resident(request)
    await WebSite.of(request).charges.stop(resident.resident_id, session_id)
    return Redirect(f"/charge/{session_id}", status_code=303)


@get("/charge/{session_id:str}/curve")
async def curve_points(request: PageRequest, session_id: FromPath[str], after: FromQuery[int] = -1) -> Response[bytes]:
    """Return the curve's points after `after` seconds of powered time, as [[s, W], …], with the ticks of its scales."""
    viewer = await _Viewer.of(request)
    data = plot_data(await viewer.curve(session_id), after)
    return Response(msgspec.json.encode(data), media_type="application/json")


@get("/charge/{session_id:str}/live")
async def live(request: PageRequest, session_id: FromPath[str], shape: FromQuery[str] = "") -> Stream:
    """Send the parts of the charge's page when they change; the stream ends when the charge is settled.

    `shape` is the shape that the page was rendered with: if the shape changes, the whole body is sent as `body`.
    """
    viewer = await _Viewer.of(request)
    session = await viewer.session(session_id)
    shown = shape

    async def render() -> tuple[Parts, bool]:
        nonlocal shown
        now = await viewer.session(session_id)
        values = await viewer.values(now, await viewer.curve(session_id))
        parts: Parts = {}
        if values["shape"] != shown:
            shown = values["shape"]
            parts["body"] = viewer.part("body", **values)
        parts |= {name: viewer.part(name, **values) for name in LIVE_PARTS}
        return parts, now.state == "settled"

    return Streams.of(request).respond(request, viewer.site.charges.changes(session), render)


class _Viewer(NamedTuple):
    """Signed-in resident who views a charge."""

    site: WebSite
    pages: Pages
    resident_id: int
    language: str
    form_key: str

    @classmethod
    async def of(cls, request: PageRequest) -> "_Viewer":
        """Return the viewer of this request. Raises Refused `signed_out`."""
        resident = await auth.resident(request)
        site, pages = WebSite.of(request), Pages.of(request)
        return cls(site, pages, resident.resident_id, language_of(request), auth.form_key(request))

    async def session(self, session_id: str) -> SessionView:
        """Return the session. Raises Refused `unknown_session`, or `not_yours` if it is another resident's."""
        return await self.site.charges.session(self.resident_id, session_id)

    async def curve(self, session_id: str) -> list[CurvePoint]:
        return await self.site.charges.curve(self.resident_id, session_id)

    def part(self, name: str, **values: Any) -> str:
        folder = "" if name == "notice" else "charge/"
        return self.pages.part(self.language, f"{folder}{name}.html", **values)

    async def values(self, session: SessionView, curve: list[CurvePoint]) -> dict[str, Any]:
        """Return the values of the page and of each of its parts."""
        place = await self.site.charges.place(session)
        return {
            "session": session,
            "curve": polyline(curve),
            "plot_data": msgspec.json.encode(plot_data(curve)).decode(),
            "charged": charged_key(session),
            "shape": _shape(session),
            "form_key": self.form_key,
            "place": place,
            "guard_reachable": place.guard_reachable,
            "cabinet": place.cabinet,
            "electricity_fen": parts_fen(session.lines)[0],
        }


def _shape(session: SessionView) -> str:
    """Return the shape of the page: its content other than the figures depends on this alone."""
    if session.state == "settled":
        return "receipt"
    if session.state == "finished":
        return "settling"
    return "waiting" if session.state in ("authorised", "waiting_for_load") else "charging"


def charged_key(session: SessionView) -> str:
    """Return the text key for the cost of a settled charge; the text must agree with the bill's lines."""
    if session.cost_fen == 0:
        return "receipt.free_of_charge"
    kinds = {line.kind for line in session.lines} - {"cap"}
    if session.fault is None or not kinds <= {"electricity", "service"}:
        return "receipt.charged"
    return "tripped.energy_and_service" if "service" in kinds else "tripped.energy"


router = Router(
    "/",
    route_handlers=[charge_page, stop, curve_points, live],
    before_request=auth.check_form,
    include_in_schema=False,
)
