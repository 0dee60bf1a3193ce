"""A resident's phone inside the machine: it signs in and presses a button. `phone.py start|stop CARD PIN CODE`."""

import re
import sys
from http.cookiejar import CookieJar
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

CABINET = "http://127.0.0.1:8080"
CHARGE = Path("/var/lib/bench/charge")  # path of the page of the last started charge


class Page(NamedTuple):
    path: str
    text: str


def main() -> int:
    what, card, pin, code = sys.argv[1:]
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    send(browser, get(browser, "/sign-in"), "/sign-in", card=card, pin=pin)
    if what == "start":
        page = send(browser, get(browser, f"/s/{code}"), f"/s/{code}/start", kind="full")
        if not page.path.startswith("/charge/"):
            raise SystemExit(f"not started: {page.path}")
        CHARGE.write_text(page.path)
    else:
        path = CHARGE.read_text()
        page = send(browser, get(browser, path), f"{path}/stop")
    print(page.path)
    return 0


def get(browser: OpenerDirector, path: str, referer: str = "", fields: dict[str, str] | None = None) -> Page:
    data = None if fields is None else urlencode(fields).encode()
    with browser.open(Request(CABINET + path, data, {"Referer": CABINET + referer}), timeout=60) as answer:
        return Page(urlsplit(answer.url).path, answer.read().decode())


def send(browser: OpenerDirector, page: Page, action: str, **fields: str) -> Page:
    """Fill in the form of `page` for `action` and send it, with its hidden fields. Return the answer."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
    if form is None:
        text = re.sub(r"<[^>]+>|\s+", " ", page.text)
        raise SystemExit(f"no form to {action} on {page.path}: {text[:1500]}")
    for tag in re.findall(r'<input[^>]*type="hidden"[^>]*>', form[0]):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name:
            fields.setdefault(name[1], value[1] if value else "")
    return get(browser, action, page.path, fields)


if __name__ == "__main__":
    sys.exit(main())
