"""Every page that the application has, found by walking its routes, so that a new one cannot be forgotten.

A route with a placeholder is filled with what `Scene` prepared: an outlet in each of its states, a charge in each of
its own. What answers with anything but HTML (a stream, a table, a picture, the API) is no page.
"""

import itertools
import re
from collections.abc import Iterator

from litestar import Litestar
from litestar.routes import HTTPRoute

from cabinet.config import load
from cabinet.web.site import create_app
from tests.e2e.processes import Cabinet, wait_for
from tests.unit.web.fake_service import FakeService

STAFF = "walker"
PASSWORD = "a walk through every page"
CARD = "40000001"

FREE, IN_USE, BROKEN, LATER = "A7K2", "C5T4", "E2W7", "G4N8"
NOWHERE = "/nowhere"


class Scene:
    """A cabinet with something on every page: charges that run, ended and tripped.

    `resident` has also signed in as staff, so that one browser with its cookies may see everything.
    """

    def __init__(self, cabinet: Cabinet) -> None:
        self.cabinet = cabinet
        cabinet.command("staff", "add", STAFF, "--password", PASSWORD)
        self.resident = cabinet.resident(CARD)
        self.client = self.resident.client
        door = self.client.get("/property/sign-in")
        self.resident.send(door, "/property/sign-in", name=STAFF, password=PASSWORD)
        tripped = self._charge(5, BROKEN)
        cabinet.sim("fault", "5", "short", "--amps", "60")
        wait_for("the trip", lambda: cabinet.outlet(5).latched)
        self._settled(tripped)
        stopped = self._charge(7, LATER)
        self.resident.send(self.client.get(stopped), f"{stopped}/stop")
        self._settled(stopped)
        running = self._charge(3, IN_USE)
        self._fillings = {
            "code": [FREE, IN_USE, BROKEN],
            "session_id": [path.rpartition("/")[2] for path in (tripped, stopped, running)],
        }

    def _charge(self, outlet: int, code: str) -> str:
        """Path of the page of a new charge, once it draws its power."""
        self.cabinet.plug(outlet, "lead-acid-48v20ah", 0.3)
        path = str(self.resident.start(code).url.path)
        wait_for("a charge", lambda: self.cabinet.phase(outlet) == "charging")
        wait_for("its power", lambda: (self.cabinet.outlet(outlet).power_mw.value or 0) > 100_000)
        return path

    def _settled(self, path: str) -> None:
        wait_for("its receipt", lambda: f"{path}/stop" not in self.client.get(path).text)

    def pages(self) -> list[str]:
        """Addresses of every page, and one where there is none."""
        return [*(address for address in self._addresses() if self._is_page(address)), NOWHERE]

    def _addresses(self) -> Iterator[str]:
        """Of every GET route, once for each filling of its placeholders."""
        service = FakeService()
        for route in routes(create_app(service, service, load(self.cabinet.config))):
            names = re.findall(r"\{(\w+)", route)
            lacking = set(names) - set(self._fillings)
            assert not lacking, f"{route}: say in tests/browser/site_map.py what {lacking} may be"
            for values in itertools.product(*(self._fillings[name] for name in names)):
                filled = dict(zip(names, values, strict=True))
                yield re.sub(r"\{(\w+)[^}]*\}", lambda found, filled=filled: filled[found[1]], route)

    def _is_page(self, address: str) -> bool:
        with self.client.stream("GET", address) as answer:
            assert answer.status_code < 400, f"{address}: {answer.status_code}"
            return answer.headers.get("content-type", "").startswith("text/html")


def routes(app: Litestar) -> list[str]:
    """Path of every GET route but files and the API's."""
    return [
        route.path
        for route in app.routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods and not route.path.startswith(("/static/", "/api/"))
    ]
