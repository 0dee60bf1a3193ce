"""Examples of docs/tariffs.md as they stand there."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "tariffs.md"
BLOCK = re.compile(r"^```(toml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {
    text.splitlines()[0].removeprefix("# "): text
    for kind, text in BLOCK.findall(DOCS.read_text("utf-8"))
    if kind == "toml"
}
EXAMPLES = [
    example
    for kind, text in BLOCK.findall(DOCS.read_text("utf-8"))
    if kind == "console" and "FILE" not in text
    for example in re.findall(r"^\$ cabinet (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE)
]
