"""Report of a commissioning run: a signed text, and the same text as a PDF with its letters as outlines.

The signature is made with the cabinet's own key (Ed25519), over the text up to the line that begins the signature. The
public key is printed there and shown by the cabinet: with it any reader can check if a figure was changed afterwards.
"""

import base64
import datetime
import secrets
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from cabinet import __version__, plain_text
from cabinet.config import Config
from cabinet.console.commission.findings import CommissioningStep, Finding, StepVerdict
from cabinet.console.commission.record import CommissioningRecord
from cabinet.console.commission.steps import summary
from cabinet.console.terminal.columns import pad
from cabinet.errors import CabinetError
from cabinet.maintenance import Attribution
from cabinet.system.atomic_file import write_file
from cabinet.system.secret_files import check_private
from cabinet.texts import Texts

if TYPE_CHECKING:
    from cabinet.stickers.font import Font

KEY_NAME = "console-signing.key"
KEY_BYTES = 32
MARK = "-- "  # prefix of the signature lines
MARGIN_MM, LINE_MM, LETTER_MM = 18.0, 5.0, 3.2
WIDEST = 88  # columns of a line on paper


def load_key(folder: Path) -> SigningKey:
    """Return the console's own key, created at first use, readable by its owner only. Raises CabinetError."""
    path = folder / KEY_NAME
    if not path.exists():
        try:
            write_file(path, secrets.token_bytes(KEY_BYTES), 0o600, new=True)
        except FileExistsError:
            pass  # another process has just made it
        except OSError as error:
            raise CabinetError(f"{path}: cannot be written ({error.strerror})") from error
    check_private(path)
    try:
        return SigningKey(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CabinetError(f"{path}: is no key of {KEY_BYTES} bytes ({error}); move it away for a new one") from error


def compose(
    record: CommissioningRecord,
    steps: list[CommissioningStep],
    config: Config,
    words: Texts,
    name: str,
    now: Attribution,
) -> str:
    """Return the report text without its signature: tests, observations, mistakes, and the name of the signer."""
    site = config.site
    zone = zoneinfo.ZoneInfo(site.timezone)
    wrong = summary(record.found)
    undone = [step for step in steps if step.key not in record.found]
    skipped = [step for step in steps if any(f.verdict is StepVerdict.SKIPPED for f in record.found.get(step.key, []))]
    lines = [
        words("protocol.title", site=site.name if words.language == "zh" else site.name_en or site.name),
        words("protocol.cabinet", site_id=site.site_id, outlets=len(config.outlet), version=__version__),
        words("protocol.wiring", wiring=record.wiring),
        words("protocol.begun", moment=moment(record.begun, zone), who=record.begun.who),
        words("protocol.ended", moment=moment(now, zone), who=now.who),
        "",
        words(
            "protocol.result", result=words("protocol.passed" if not wrong and not undone else "protocol.not_passed")
        ),
        *(f"  ! {finding_text(finding, words)}" for finding in wrong),
        *([f"  ! {words('protocol.undone', count=len(undone))}"] if undone else []),
        *([f"    {words('protocol.skipped', count=len(skipped))}"] if skipped else []),
        "",
    ]
    for step in steps:
        for finding in record.found.get(step.key, []):
            lines.append(f"{pad(words(f'verdict.{finding.verdict.value}'), 8)} {finding_text(finding, words, step)}")
        if (signed := record.signed.get(step.key)) is not None and signed.who != now.who:
            lines.append(f"         {words('protocol.by', who=signed.who)}")
    signed_by = words("protocol.signed_by", name=name, account=now.who, moment=moment(now, zone))
    return "\n".join([*map(plain_text.one_line, [*lines, "", signed_by]), ""])


def finding_text(finding: Finding, words: Texts, step: CommissioningStep | None = None) -> str:
    """Return one finding as text. Codes of a fault or a refusal in its parameters become text too."""
    params = dict(finding.params)
    if "fault" in params:
        params["fault"] = words(f"fault.{params['fault']}.name")
    if "refusal" in params:
        params["refusal"] = words(f"refusal.{params['refusal']}")
    text = words(f"finding.{finding.code}", **params)
    if finding.verdict is StepVerdict.SKIPPED and step is not None:
        return f"{step_name(step, words)}: {text}"
    return text


def step_name(step: CommissioningStep, words: Texts) -> str:
    return words(f"step.{step.kind}", outlet=step.outlet)


def sign(body: str, key: SigningKey) -> str:
    """Return `body` followed by the public key and the signature."""
    signature = base64.b64encode(key.sign(body.encode()).signature).decode()
    public = base64.b64encode(bytes(key.verify_key)).decode()
    return f"{body}{MARK}Ed25519 {public}\n{MARK}{signature}\n"


def verify(text: str, public: str | None = None) -> bool:
    """Return True if the text is as it was signed; with `public`, only if that key signed it."""
    body, mark, rest = text.partition(f"{MARK}Ed25519 ")
    lines = rest.splitlines()
    if not mark or len(lines) != 2 or not lines[1].startswith(MARK) or (public is not None and lines[0] != public):
        return False
    try:
        key = VerifyKey(base64.b64decode(lines[0], validate=True))
        key.verify(body.encode(), base64.b64decode(lines[1].removeprefix(MARK), validate=True))
    except (BadSignatureError, ValueError):
        return False
    return True


def to_pdf(text: str, title: str, font: "Font") -> bytes:
    """Return the text as a PDF of A4 pages, drawn as outlines."""
    from cabinet.stickers.drawing import A4_MM, Drawing, pdf

    lines_a_page = int((A4_MM[1] - 2 * MARGIN_MM) / LINE_MM)
    lines = [part for line in text.split("\n") for part in _wrapped(line)]
    pages = []
    for start in range(0, len(lines), lines_a_page):
        drawing = Drawing(*A4_MM)
        for place, line in enumerate(lines[start : start + lines_a_page]):
            size = LETTER_MM * (1.5 if start + place == 0 else 1.0)
            drawing.fitted(font, line, MARGIN_MM, MARGIN_MM + (place + 1) * LINE_MM, size, A4_MM[0] - 2 * MARGIN_MM)
        pages.append([(0.0, 0.0, drawing)])
    return pdf(pages, title)


def _wrapped(line: str) -> list[str]:
    return [line[start : start + WIDEST] for start in range(0, max(1, len(line)), WIDEST)]


def moment(signed: Attribution, zone: datetime.tzinfo) -> str:
    """Return the local time with its UTC offset; with a mark if the clock was not synchronised."""
    when = datetime.datetime.fromtimestamp(signed.unix_ms / 1000, zone)
    return f"{when:%Y-%m-%d %H:%M} UTC{when:%z}{'' if signed.trusted else ' (?)'}"
