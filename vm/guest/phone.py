"""A resident's phone inside the machine: signs in and presses a button. `phone.py start|stop CARD PIN CODE`."""

import re
import sys
from pathlib import Path

import httpx

CHARGE = Path("/var/lib/bench/charge")  # the page of the one that was started last


def main() -> int:
    what, card, pin, code = sys.argv[1:]
    with httpx.Client(base_url="http://127.0.0.1:8080", follow_redirects=True, timeout=60) as client:
        send(client, client.get("/sign-in"), "/sign-in", card=card, pin=pin)
        if what == "start":
            page = send(client, client.get(f"/s/{code}"), f"/s/{code}/start", kind="full")
            if not page.url.path.startswith("/charge/"):
                raise SystemExit(f"not started: {page.url}")
            CHARGE.write_text(page.url.path)
        else:
            path = CHARGE.read_text()
            page = send(client, client.get(path), f"{path}/stop")
        print(page.url.path)
        return 0


def send(client: httpx.Client, page: httpx.Response, action: str, **fields: str) -> httpx.Response:
    """Fill in the form of `page` that goes to `action` and send it, hidden fields included."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
    if form is None:
        text = re.sub(r"<[^>]+>|\s+", " ", page.text)
        raise SystemExit(f"no form to {action} on {page.url}: {text[:1500]}")
    for tag in re.findall(r'<input[^>]*type="hidden"[^>]*>', form[0]):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name:
            fields.setdefault(name[1], value[1] if value else "")
    return client.post(action, data=fields, headers={"Referer": str(page.url)})


if __name__ == "__main__":
    sys.exit(main())
