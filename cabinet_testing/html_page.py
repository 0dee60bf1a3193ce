"""Parser of a page's HTML, and functions that send its forms."""

from html.parser import HTMLParser
from typing import Any

import httpx
from litestar.testing import TestClient

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "path", "circle", "rect", "polyline"}


class Page(HTMLParser):
    """The elements of a page with their attributes; `mistakes` names tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.mistakes: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.mistakes.extend(f"<{tag}> is never closed" for tag in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.mistakes.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Attributes of each `tag` that has these."""
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]

    @property
    def text(self) -> str:
        """Everything a reader sees, with one space between."""
        return " ".join(" ".join(self.words).split())


def page(answer: httpx.Response) -> Page:
    return Page(answer.text)


def send(client: TestClient[Any], path: str, **fields: Any) -> httpx.Response:
    """Post a form to `path` as one of our own pages would."""
    if "form" not in client.cookies:
        client.get("/")
    return client.post(path, data={"form_key": client.cookies["form"], **fields})
