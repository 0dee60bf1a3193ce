"""`calibrate N`: a guided dialogue with known loads. Reads back the new gains, and keeps the old ones for `undo`."""

from cabinet.clock import NS
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, choice, optional
from cabinet.console.command import Ask, Desk, Outcome, Question, Shown, command
from cabinet.console.commands import steps
from cabinet.console.commands.calibration_math import (
    MAX_STRAY,
    CalibrationError,
    Point,
    check_point,
    fitted,
    parse,
    stray,
)
from cabinet.console.commands.force import unforced
from cabinet.console.commands.relay_wear import kept
from cabinet.errors import Refused
from cabinet.link.protocol import MAX_TRIAL_S, SetGains, Try
from cabinet.maintenance import UNITY_PPM, Calibration, Gains, OutletUpkeep

PATIENCE_S = 290.0  # time to fetch and plug in a load between two answers; the login's idle limit is longer
READ_BACK_NS = NS


@command("calibrate", Level.SERVICE, OUTLET, optional(choice("undo", "undo")), example="calibrate 4")
def calibrate(desk: Desk, number: int, what: str | None) -> Outcome:
    unforced(desk, number)
    if what == "undo":
        return _undo(desk, number)
    return Calibrating(desk, number).begin()


def page_of(desk: Desk, number: int) -> OutletUpkeep:
    """Return the outlet's maintenance data. Raises Refused if the guard has no such outlet."""
    page = next((page for page in desk.guard.upkeep().outlets if page.outlet == number), None)
    if page is None:
        raise Refused("unknown_outlet", outlet=number)
    return page


def is_yes(typed: str) -> bool:
    """Return True if the answer is yes, by the shell's rule."""
    return typed.lower() in ("yes", "是")


def gain_text(gains: Gains) -> dict[str, str]:
    """Return both gains as factors, for the texts."""
    return {"current": f"{gains.current_ppm / UNITY_PPM:.4f}", "power": f"{gains.power_ppm / UNITY_PPM:.4f}"}


def _undo(desk: Desk, number: int) -> Outcome:
    calibration: Calibration | None = page_of(desk, number).calibration
    if calibration is None:
        raise Refused("never_calibrated", outlet=number)
    before = calibration.before

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: SetGains(id, number, before, desk.who))
        return Shown(desk.words("calibrate.undone", outlet=number, **gain_text(before)), before)

    signed = calibration.signed
    text = desk.words("calibrate.undo_question", outlet=number, who=signed.who, **gain_text(before))
    return Question(text, on_yes)


class Calibrating:
    """One run of the dialogue: the outlet is closed for a test charge throughout, and opens however the run ends."""

    def __init__(self, desk: Desk, number: int) -> None:
        self._desk = desk
        self._number = number
        self._points: list[Point] = []
        self._before = page_of(desk, number).gains

    def begin(self) -> Outcome:
        """Return the first prompt. A program, which is refused dialogues, therefore closes no outlet."""
        words = self._desk.words
        text = words("calibrate.begin", outlet=self._number, **gain_text(self._before))
        return Ask(text, words("prompt.answer"), self._close)

    def _close(self, typed: str) -> Outcome:
        if not is_yes(typed):
            return Shown(self._desk.words("answer.no"))
        self._renew()
        return steps.follow(
            steps.closed(self._desk, self._number), lambda _: self._ask("calibrate.first"), self._leave_said
        )

    def _renew(self) -> None:
        """Renew the test charge: the outlet stays closed during the dialogue, and at most ten minutes longer."""
        self._desk.guard.request(lambda id: Try(id, self._number, MAX_TRIAL_S, self._desk.who))

    def _ask(self, key: str, **params: object) -> Ask:
        words = self._desk.words
        return Ask(words(key, outlet=self._number, **params), words("calibrate.prompt"), self._take, self._leave,
                   PATIENCE_S)  # fmt: skip

    def _take(self, typed: str) -> Outcome:
        if typed.lower() in ("done", "完成"):
            return self._fit()
        try:
            true_mw, true_ma = parse(typed)
        except CalibrationError as error:
            return self._again(error)
        self._renew()
        return steps.follow(
            self._measured(), lambda read: self._note(true_ma, true_mw, *read), self._leave_said,
        )  # fmt: skip

    def _note(self, true_ma: int, true_mw: int, read_ma: int, read_mw: int) -> Outcome:
        point = Point(true_ma, true_mw, read_ma, read_mw)
        try:
            check_point(point)
        except CalibrationError as error:
            return self._again(error)
        self._points.append(point)
        return self._ask("calibrate.point", count=len(self._points), **point_text(point))

    def _again(self, error: CalibrationError) -> Ask:
        return self._ask("calibrate.again", why=self._desk.words(f"calibration.{error.key}", **error.params))

    def _fit(self) -> Outcome:
        try:
            gains = fitted(self._points, self._before)
        except CalibrationError as error:
            return self._again(error)
        before, after = gain_text(self._before), gain_text(gains)
        words = self._desk.words
        text = words("calibrate.fitted", count=len(self._points), current=after["current"], power=after["power"],
                     old_current=before["current"], old_power=before["power"])  # fmt: skip
        return Ask(text, words("prompt.answer"), lambda typed: self._set(typed, gains), self._leave, PATIENCE_S)

    def _set(self, typed: str, gains: Gains) -> Outcome:
        if not is_yes(typed):
            self._leave()
            return Shown(self._desk.words("answer.no"))
        self._desk.guard.request(lambda id: SetGains(id, self._number, gains, self._desk.who))
        self._renew()
        return steps.follow(self._read_back(), lambda read: self._judge(gains, *read), self._leave_said)

    def _read_back(self) -> steps.Steps[tuple[int, int]]:
        yield from steps.rest(self._desk, READ_BACK_NS)  # the chip is configured again
        return (yield from self._measured())

    def _measured(self) -> steps.Steps[tuple[int, int]]:
        """Measure the mean load. This takes some seconds, so the text explains the effect of an early Enter."""
        yield self._desk.words("calibrate.measuring")
        return (yield from steps.mean_load(self._desk, self._number))

    def _judge(self, gains: Gains, read_ma: int, read_mw: int) -> Outcome:
        """Compare the new reading with the reference values of the last load, which is still plugged in."""
        last = self._points[-1]
        off_power, off_current = stray(last.true_mw, read_mw), stray(last.true_ma, read_ma)
        good = max(abs(off_power), abs(off_current)) <= MAX_STRAY
        if not good:
            self._desk.guard.request(lambda id: SetGains(id, self._number, self._before, self._desk.who))
        self._leave()
        params = {"watts": f"{read_mw / 1000:.1f}", "amps": f"{read_ma / 1000:.3f}",
                  "off_power": f"{100 * off_power:+.2f}", "off_current": f"{100 * off_current:+.2f}"}  # fmt: skip
        key = "calibrate.kept" if good else "calibrate.put_back"
        return Shown(kept(self._desk, self._desk.words(key, outlet=self._number, **params)),
                     {"outlet": self._number, "kept": good, "gains": gains, "before": self._before})  # fmt: skip

    def _leave(self) -> None:
        steps.open_test(self._desk, self._number)

    def _leave_said(self) -> str:
        self._leave()
        return self._desk.words("calibrate.left", outlet=self._number)


def point_text(point: Point) -> dict[str, str]:
    return {
        "true_watts": f"{point.true_mw / 1000:.1f}",
        "true_amps": f"{point.true_ma / 1000:.3f}",
        "watts": f"{point.read_mw / 1000:.1f}",
        "amps": f"{point.read_ma / 1000:.3f}",
    }
