"""Completion of typed text: the commands that this account may run, and their arguments. Pure."""

from collections.abc import Sequence

from cabinet.config import Config
from cabinet.console.command import CommandPlan

JSON = "--json"


def complete(text: str, plans: Sequence[CommandPlan], config: Config) -> list[str]:
    """Return the words that may replace the last one of `text` (empty after a blank), in the order of `help`."""
    words = text.lower().split()
    last = "" if not text or text.endswith(" ") else words.pop()
    offered: list[str] = []
    for plan in plans:
        name = plan.name.split()
        if len(words) < len(name):
            if name[: len(words)] == words:
                offered.append(name[len(words)])
        elif name == words[: len(name)]:
            place = len(words) - len(name)
            if place < len(plan.takes):
                offered += plan.takes[place].choices(config)
            elif plan.reads:
                offered.append(JSON)
    return [word for word in dict.fromkeys(offered) if word.startswith(last) and word != last]
