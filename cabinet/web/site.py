"""Assembly of the web application: pages, API, files, errors, and the headers of every answer."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, get
from litestar.enums import MediaType, ScopeType
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath
from litestar.response import Response
from litestar.types import (
    ControllerRouterHandler,
    ExceptionHandlersMap,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Message,
    Receive,
    Scope,
    Send,
)

from cabinet import __version__
from cabinet.clock import SystemClock
from cabinet.config.keys import Config
from cabinet.records import ACTIONS
from cabinet.service.property_ports import ServicePorts
from cabinet.web import account, api, charging, errors, front, property, reader, resident, sim
from cabinet.web.assets import Assets
from cabinet.web.context import CabinetSite, PageRequest, WebSite
from cabinet.web.live import Streams
from cabinet.web.pages import Pages
from cabinet.web.property.access import SECTIONS
from cabinet.web.sim_port import SimulatorPort
from cabinet.web.source_log import SourceLog

MAX_BODY = 64 * 1024
"""Bytes; our largest form has a few hundred."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send "null" as the origin of our own forms
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}

ROBOTS = "User-agent: *\nDisallow: /\n"


class Application(Litestar):
    """Litestar application behind `front`."""

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        if scope["type"] == ScopeType.HTTP:
            await front.handle(scope, receive, send, super().__call__)
        else:
            await super().__call__(scope, receive, send)


def create_app(service: ServicePorts, config: Config, simulator: SimulatorPort | None = None) -> Application:
    """Return the ASGI application over the ports of the service, and over the simulator if there is one."""
    if simulator is not None and not config.simulated:
        raise ValueError("a cabinet with real hardware has no simulator")
    site = site_of(service, config, simulator)
    handlers: list[ControllerRouterHandler] = [
        property.router,
        api.router,
        api.healthz,
        reader.router,
        *([] if simulator is None else [sim.router]),
    ]
    return assemble(
        site,
        Pages(site.zone, Assets(), config=config, second_factor=True),
        Streams(most_of_address=config.service.connections_per_address // 2),
        handlers,
        _openapi(config),
    )


def site_of(service: ServicePorts, config: Config, simulator: SimulatorPort | None = None) -> CabinetSite:
    return CabinetSite(
        charges=service.charges,
        overview=service.overview,
        accounts=service.accounts,
        property_=service.property_,
        config=config,
        public_url=config.site.public_url,
        timezone=config.site.timezone,
        log=SourceLog(SystemClock()),
        sections=SECTIONS,
        actions=ACTIONS,
        simulator=simulator,
    )


def assemble(
    site: WebSite,
    pages: Pages,
    streams: Streams,
    handlers: Sequence[ControllerRouterHandler],
    openapi: OpenAPIConfig | None = None,
    failures: "ExceptionHandlersMap | None" = None,
) -> Application:
    """Return the application of the residents' pages and of `handlers`, with the protections of all of them.

    `failures`: handlers of exceptions besides those of all pages.
    """
    secure_headers = HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if site.secure else {})
    encoded = [(name.lower().encode(), value.encode()) for name, value in secure_headers.items()]

    async def add_headers(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            extra = [*encoded, (b"cache-control", b"no-store")]  # a page may contain a resident's name and balance
            message["headers"] = [*message["headers"], *((name, value) for name, value in extra if name not in present)]

    app = Application(
        [resident.router, charging.router, account.router, *handlers, static_file, robots],
        exception_handlers={**errors.HANDLERS, **(failures or {})},
        before_send=[add_headers],
        guards=[front.refuse_malformed],
        request_max_body_size=MAX_BODY,
        openapi_config=openapi,
        logging_config=None,
        debug=False,
    )
    app.state.site = site
    app.state.pages = pages
    app.state.streams = streams
    return app


@get("/static/{name:path}", include_in_schema=False)
async def static_file(request: PageRequest, name: FromPath[str]) -> Response[bytes]:
    """Send a style sheet, script or picture; if the address has the content's hash, it may be cached for ever."""
    assets = Pages.of(request).assets
    name = name.removeprefix("/")
    if name not in assets:
        raise NotFoundException
    asset = assets[name]
    exact = request.query_params.get("v") == asset.version
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if exact else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.compressed, media_type=asset.content_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.content_type, headers=headers)


@get("/robots.txt", include_in_schema=False)
async def robots() -> Response[Any]:
    """Keep search engines away: outlets and accounts must not be indexed."""
    return Response(ROBOTS, media_type=MediaType.TEXT)


def _openapi(config: Config) -> OpenAPIConfig:
    """Return the API's description, served as JSON; the usual reader pages would load scripts from other sites."""
    return OpenAPIConfig(
        title=f"Charging cabinet {config.site.site_id}",
        version=__version__,
        description="Usage log and state of a charging cabinet for electric bicycles.",
        path="/api/schema",
        render_plugins=[JsonRenderPlugin(path="/")],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        create_examples=False,
    )
