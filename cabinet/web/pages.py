"""Templates, and responses rendered from them in the visitor's language. All values are escaped."""

import zoneinfo
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from litestar.datastructures import Cookie
from litestar.enums import MediaType
from litestar.response import Response

from cabinet import plain_text
from cabinet.texts import LANGUAGES, Texts
from cabinet.web import auth
from cabinet.web.assets import Assets
from cabinet.web.context import Connection, PageRequest, WebSite, language_of, large_text
from cabinet.web.words import Formatter


class Locale(NamedTuple):
    """Texts and number formatter of one language."""

    texts: Texts
    fmt: Formatter


class Pages:
    """Renderer of whole pages and of the parts that change on live pages."""

    def __init__(
        self,
        zone: zoneinfo.ZoneInfo,
        assets: Assets,
        parts: tuple[str, ...] = ("property",),
        package: str = "cabinet.web",
        **globals_: Any,
    ) -> None:
        """`parts`: text files besides `web`. A template of `package` replaces ours; ours is then `cabinet/<name>`."""
        self.assets = assets
        self.locales = {
            language: Locale(texts := Texts("web", language, *parts), Formatter(texts, zone)) for language in LANGUAGES
        }
        ours = PackageLoader("cabinet.web")
        self._environment = Environment(
            loader=ours
            if package == "cabinet.web"
            else ChoiceLoader([PackageLoader(package), ours, PrefixLoader({"cabinet": ours})]),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= globals_ | {
            "asset": assets.url,
            "bundled": "dist/app.js" in assets,
            "FORM_FIELD": auth.FORM_FIELD,
        }

    @classmethod
    def of(cls, connection: Connection) -> "Pages":
        return cast(Pages, connection.app.state.pages)

    def part(self, language: str, template: str, /, **values: Any) -> str:
        """Return the HTML of one template in `language`, for an event or for a page."""
        locale = self.locales[language]
        return self._environment.get_template(template).render(t=locale.texts, fmt=locale.fmt, **values)

    def page(
        self,
        request: PageRequest,
        template: str,
        *,
        status: int = 200,
        cookies: Iterable[Cookie] = (),
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> Response[str]:
        """Return a whole page with `status`. It sets the form key's cookie if the browser does not have it."""
        language = language_of(request)
        place = values.get("place") or WebSite.of(request).charges.frame()
        common = {
            "language": language,
            "large": large_text(request),
            "form_key": auth.form_key(request),
            "here": request.url.path,
            "place": place,
            "guard_reachable": place.guard_reachable,
            "cabinet": place.cabinet,
        }
        html = self.part(language, template, **(common | values))
        own = auth.form_cookie(request)
        return Response(
            html,
            status_code=status,
            media_type=MediaType.HTML,
            headers=headers,
            cookies=[*cookies, *([own] if own else [])],
        )


def _shown(value: object) -> object:
    """Return text without control or invisible characters, for a template; it is escaped afterwards."""
    return plain_text.lines(value) if type(value) is str else value
