"""Machine mode: a program sends request lines and gets one JSON reply line for each. Pure.

    request   [#SEQ ]COMMAND ...[ *CRC]
    reply     [#SEQ ]{"ok":true,"data":...}[ *CRC]     or     [#SEQ ]{"ok":false,"code":"...","text":"..."}[ *CRC]
    notice    !{"notice":...}                          only after `notices on`

SEQ is a whole number that the reply repeats. CRC is the CRC-16/CCITT-FALSE of everything before the blank that
precedes the `*`, as four hexadecimal digits; a reply has a CRC if its request had one, and a request with a wrong CRC
is not executed. The same line with the same SEQ as the previous one gets the same reply and is not executed again: a
program that lost a reply to noise may repeat its request.
"""

import binascii
import re

import msgspec

from cabinet import plain_text

MAX_SEQUENCE = 9  # digits
_CRC_START = 0xFFFF

_REQUEST = re.compile(r"(?:#(?P<seq>[0-9]{1,9})(?:\s+|$))?(?P<command>.*?)(?:\s+\*(?P<crc>[0-9A-Fa-f]{4}))?\s*")


class Request(msgspec.Struct, frozen=True):
    """A parsed request line. `sound`: its checksum is right, or it has none."""

    command: str
    seq: int | None
    has_crc: bool
    sound: bool


def crc(text: str) -> str:
    """Return the CRC of `text` as four hexadecimal digits."""
    return f"{binascii.crc_hqx(text.encode(), _CRC_START):04X}"


def read(line: str) -> Request:
    """Parse a request; a line without the SEQ or CRC form described above is a plain command."""
    match = _REQUEST.fullmatch(line.strip())
    assert match is not None  # the pattern matches every line
    sequence = None if match["seq"] is None else int(match["seq"])
    if match["crc"] is None:
        return Request(match["command"], sequence, False, True)
    covered = line.strip()[: match.end("command")]
    return Request(match["command"], sequence, True, crc(covered) == match["crc"].upper())


def reply(request: Request, answer: object) -> str:
    """Return the reply line without its line end."""
    line = plain_text.json_text(msgspec.json.encode(answer))
    if request.seq is not None:
        line = f"#{request.seq} {line}"
    return f"{line} *{crc(line)}" if request.has_crc else line


def notice(what: object) -> str:
    return "!" + plain_text.json_text(msgspec.json.encode({"notice": what}))
