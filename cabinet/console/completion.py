"""Completion of typed text: the commands that this account may run, and their arguments. Pure."""

from collections.abc import Sequence

from cabinet.config import Config
from cabinet.console.command import CommandSpec

JSON = "--json"  # option: answer in one line of JSON


def complete(text: str, commands: Sequence[CommandSpec], config: Config) -> list[str]:
    """Return the words that may replace the last one of `text` (empty after a blank), in the order of `help`."""
    words = text.lower().split()
    last = "" if not text or text.endswith(" ") else words.pop()
    offered: list[str] = []
    for spec in commands:
        name = spec.name.split()
        if len(words) < len(name):
            if name[: len(words)] == words:
                offered.append(name[len(words)])
        elif name == words[: len(name)]:
            place = len(words) - len(name)
            if place < len(spec.takes):
                offered += spec.takes[place].choices(config)
            elif spec.reads:
                offered.append(JSON)
    return [word for word in dict.fromkeys(offered) if word.startswith(last) and word != last]
