"""A command line with its options, and answers for programs. Pure."""

import msgspec

from cabinet import plain_text
from cabinet.console import registry
from cabinet.console.command import CommandResult, Output
from cabinet.console.completion import JSON
from cabinet.console.notices import Notice
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.texts import Texts

YES = "--yes"  # confirmation by a program, instead of the question to a person


class CommandLine(msgspec.Struct, frozen=True):
    """A command line and its options, which may appear anywhere after the command."""

    line: str
    json: bool = False
    yes: bool = False

    @classmethod
    def read(cls, text: str) -> "CommandLine":
        words = text.split()
        options = {word.lower() for word in words[1:] if word.lower() in (JSON, YES)}
        kept = words[:1] + [word for word in words[1:] if word.lower() not in options]
        return cls(" ".join(kept), JSON in options, YES in options)


def reply_json(outcome: CommandResult | CabinetError, words: Texts) -> str:
    """Return the reply to a program as a line of JSON; it has a text only if the command was refused or failed."""
    if isinstance(outcome, CabinetError):
        answer: dict[str, object] = {"ok": False, "code": error_code(outcome).partition(":")[0]}
        if isinstance(outcome, Refused) and outcome.params:
            answer["params"] = outcome.params
        return _json({**answer, "text": registry.error_text(words, outcome)})
    return _json({"ok": True, "data": outcome.data if isinstance(outcome, Output) else None})


def notice_json(notice: Notice) -> str:
    """Return a notice to a program as a line of JSON, with a mark that no reply begins with."""
    return f"!{_json({'notice': notice})}"


def _json(answer: object) -> str:
    return plain_text.json_text(msgspec.json.encode(answer))


def error_code(error: CabinetError) -> str:
    """Return the error code for programs and the audit log."""
    if isinstance(error, Refused):
        return error.code
    return "guard_gone" if isinstance(error, LinkError) else f"failed: {error}"
