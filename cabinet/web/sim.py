"""Page of the simulated cabinet: a live drawing of its real state, and forms for actions on it.

It exists only if the hardware is simulated: see `site.create_app`.
"""

import functools
from typing import Any, NamedTuple, get_args

from litestar import Router, get, post
from litestar.params import FromQuery
from litestar.response import Redirect, Response, Stream

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.service.ports import OutletView
from cabinet.texts import Texts
from cabinet.web import auth
from cabinet.web.context import CabinetSite, PageRequest, language_of
from cabinet.web.errors import refused_values
from cabinet.web.live import Parts, Streams
from cabinet.web.pages import Pages
from cabinet.web.sim_port import Action, SimulatedCabinet, SimulatedOutlet, SimulatorPort, Thermometer

LOOK_S = 0.5  # between two updates of a live page
EVENTS_SHOWN = 10
DEAD_V = 50.0  # below this, the drawing shows no mains


class Amount(NamedTuple):
    """Number field of a form."""

    default: int
    least: int
    most: int


AMOUNTS: dict[str, Amount] = {
    "short": Amount(60, 20, 400),
    "overload": Amount(9, 6, 25),
    "mains_cut": Amount(5, 1, 60),
}
ACTIONS: tuple[Action, ...] = get_args(Action)
OF_THE_CABINET = frozenset({"mains_cut", "smoke"})
THERMOMETERS: tuple[Thermometer, ...] = get_args(Thermometer)
SPEEDS = (1, 10, 60)
CHARGES = (10, 40, 70, 90)
DONE = frozenset({"plug", "unplug", "clear", "clear_all", *ACTIONS})

texts = functools.cache(functools.partial(Texts, "sim"))


class RealAndMeasured(NamedTuple):
    """Real state of an outlet, and the guard's view of it."""

    real: SimulatedOutlet
    guard: OutletView


@get("/sim")
async def page(request: PageRequest, outlet: FromQuery[int] = 0, did: FromQuery[str] = "") -> Response[Any]:
    """Show the cabinet and all actions for the chosen outlet; `did` is the action just done."""
    return await _page(request, outlet, did if did in DONE else "")


@get("/sim/live")
async def live(request: PageRequest) -> Stream:
    """Send the parts of the drawing when they change."""
    site, pages, language = CabinetSite.of(request), Pages.of(request), language_of(request)

    async def render() -> tuple[Parts, bool]:
        cabinet = await _simulator(site).look()
        values = {
            "s": texts(language),
            "real": cabinet,
            "bus_live": _bus_live(cabinet),
            "events": cabinet.events[:EVENTS_SHOWN],
        }
        parts = {name: pages.part(language, f"sim/{name}.html", **values) for name in ("feed", "events")}
        for shown in await _beside(site, cabinet):
            parts[f"outlet-{shown.real.number}"] = pages.part(language, "sim/outlet.html", shown=shown, **values)
        return parts, False

    return Streams.of(request).respond(request, site.overview.cabinet_changes(), render, LOOK_S)


@post("/sim", status_code=303)
async def act(request: PageRequest) -> Response[Any]:
    """Do the form's action and show the page again. If it is refused, nothing is done and the page shows why."""
    form = auth.form(request)
    site = CabinetSite.of(request)
    outlet = _whole(form.get("outlet", ""), 0, 40)
    done = form.get("do", "")
    try:
        await _do(_simulator(site), done, outlet, form)
    except Refused as refusal:
        return await _page(request, outlet, "", refusal)
    return Redirect(f"/sim?outlet={outlet}&did={done}", status_code=303)


async def _do(simulator: SimulatorPort, done: str, outlet: int, form: Any) -> None:
    if done == "plug":
        charge = _whole(form.get("charge", ""), 0, 100)
        speed = _whole(form.get("speed", ""), 1, max(SPEEDS))
        await simulator.plug(outlet, form.get("load", ""), float(charge), float(speed))
    elif done == "unplug":
        await simulator.unplug(outlet)
    elif done == "clear":
        await simulator.clear(outlet)
    elif done == "clear_all":
        await simulator.clear(None)
    elif done in simulator.actions():
        limits = AMOUNTS.get(done)
        amount = 0 if limits is None else _whole(form.get("amount", ""), limits.least, limits.most)
        thermometer = form.get("thermometer", THERMOMETERS[0])
        if thermometer not in THERMOMETERS:
            raise Refused("bad_request")
        await simulator.break_(done, outlet, float(amount), thermometer)
    else:
        raise Refused("bad_request")


def _simulator(site: CabinetSite) -> SimulatorPort:
    assert site.simulator is not None  # these pages exist only with a simulator
    return site.simulator


def _whole(text: str, least: int, most: int) -> int:
    """Return a whole number within the bounds. Raises Refused `bad_request`."""
    found = normal_form.whole(text)
    if found is None or not least <= found <= most:
        raise Refused("bad_request")
    return found


def _bus_live(cabinet: SimulatedCabinet) -> bool:
    """Return whether the busbar that feeds all outlets has mains voltage."""
    return cabinet.mains_v >= DEAD_V and cabinet.contactor != "open"


async def _beside(site: CabinetSite, cabinet: SimulatedCabinet) -> list[RealAndMeasured]:
    guard = {view.number: view for view in await site.overview.outlets()}
    return [RealAndMeasured(real, guard[real.number]) for real in cabinet.outlets if real.number in guard]


async def _page(request: PageRequest, outlet: int, did: str, refusal: Refused | None = None) -> Response[Any]:
    site = CabinetSite.of(request)
    simulator = _simulator(site)
    cabinet = await simulator.look()
    outlets = await _beside(site, cabinet)
    chosen = next((shown for shown in outlets if shown.real.number == outlet), outlets[min(2, len(outlets) - 1)])
    fitted = simulator.actions()
    return Pages.of(request).page(
        request,
        "sim/page.html",
        **refused_values(request, refusal),
        s=texts(language_of(request)),
        real=cabinet,
        bus_live=_bus_live(cabinet),
        outlets=outlets,
        chosen=chosen,
        events=cabinet.events[:EVENTS_SHOWN],
        actions=[(action, AMOUNTS.get(action)) for action in ACTIONS if action in fitted],
        of_the_cabinet=OF_THE_CABINET,
        loads=simulator.loads(),
        charges=CHARGES,
        speeds=SPEEDS,
        thermometers=THERMOMETERS,
        did=did,
    )


router = Router("/", route_handlers=[page, live, act], before_request=auth.check_form, include_in_schema=False)
