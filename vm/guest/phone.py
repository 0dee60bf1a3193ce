"""A resident's phone inside the machine: signs in and presses a button. `phone.py start|stop CARD PIN CODE`."""

import re
import sys

import httpx


def main() -> int:
    what, card, pin, code = sys.argv[1:]
    with httpx.Client(base_url="http://127.0.0.1:8080", follow_redirects=True, timeout=60) as client:
        send(client, client.get("/sign-in"), "/sign-in", card=card, pin=pin)
        page = client.get(f"/s/{code}")
        if what == "start":
            page = send(client, page, f"/s/{code}/start", kind="full")
        else:
            action = re.search(r'action="(/charge/[^"]+/stop)"', page.text)
            if action is None:
                raise SystemExit(f"no charge to stop at {code}: {page.url}")
            page = send(client, page, action[1])
        print(page.url.path)
        return 0 if page.url.path.startswith("/charge/") else 1


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
