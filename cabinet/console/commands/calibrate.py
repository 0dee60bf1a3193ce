"""`calibrate N`: a guided dialogue with known loads. Reads back the new gains, and keeps the old ones for `undo`."""

from cabinet.clock import NS
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, choice, optional
from cabinet.console.command import CommandContext, CommandResult, Confirmation, Output, Prompt, command, is_yes
from cabinet.console.commands import steps
from cabinet.console.commands.calibration_math import (
    MAX_DEVIATION,
    Point,
    check_point,
    fitted,
    parse,
    relative_deviation,
)
from cabinet.console.commands.force import require_no_charge
from cabinet.console.commands.relay_wear import kept
from cabinet.errors import Refused
from cabinet.link.guard_protocol import MAX_TRIAL_S, SetGains, StartTestCharge
from cabinet.maintenance import UNITY_PPM, Gains

MAX_ANSWER_S = 290.0  # time to fetch and plug in a load between two answers; the login's idle limit is longer
READ_BACK_NS = NS


@command("calibrate", Level.SERVICE, OUTLET, optional(choice("undo", "undo")), example="calibrate 4")
def calibrate(context: CommandContext, number: int, what: str | None) -> CommandResult:
    require_no_charge(context, number)
    if what == "undo":
        return _undo(context, number)
    return Calibrating(context, number).begin()


def gain_text(gains: Gains) -> dict[str, str]:
    """Return both gains as factors, for the texts."""
    return {"current": f"{gains.current_ppm / UNITY_PPM:.4f}", "power": f"{gains.power_ppm / UNITY_PPM:.4f}"}


def _undo(context: CommandContext, number: int) -> CommandResult:
    calibration = context.outlet_maintenance(number).calibration
    if calibration is None:
        raise Refused("never_calibrated", outlet=number)
    before = calibration.before

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: SetGains(id, number, before, context.who))
        return Output(context.words("calibrate.undone", outlet=number, **gain_text(before)), before)

    signed = calibration.signed
    text = context.words("calibrate.undo_question", outlet=number, who=signed.who, **gain_text(before))
    return Confirmation(text, on_yes)


class Calibrating:
    """One run of the dialogue: the outlet is closed for a test charge throughout, and opens however the run ends."""

    def __init__(self, context: CommandContext, number: int) -> None:
        self._context = context
        self._number = number
        self._points: list[Point] = []
        self._before = context.outlet_maintenance(number).gains

    def begin(self) -> CommandResult:
        """Return the first prompt. A program, which is refused dialogues, therefore closes no outlet."""
        words = self._context.words
        text = words("calibrate.begin", outlet=self._number, **gain_text(self._before))
        return Prompt(text, words("prompt.answer"), self._close)

    def _close(self, typed: str) -> CommandResult:
        if not is_yes(typed):
            return Output(self._context.words("answer.no"))
        self._renew()
        return steps.run_in_view(
            steps.wait_until_closed(self._context, self._number),
            lambda _: self._ask("calibrate.first"),
            self._leave_said,
        )

    def _renew(self) -> None:
        """Renew the test charge: the outlet stays closed during the dialogue, and at most ten minutes longer."""
        self._context.guard.request(lambda id: StartTestCharge(id, self._number, MAX_TRIAL_S, self._context.who))

    def _ask(self, key: str, **params: object) -> Prompt:
        words = self._context.words
        return Prompt(words(key, outlet=self._number, **params), words("calibrate.prompt"), self._take, self._leave,
                   MAX_ANSWER_S)  # fmt: skip

    def _take(self, typed: str) -> CommandResult:
        if typed.lower() in ("done", "完成"):
            return self._fit()
        try:
            true_mw, true_ma = parse(typed)
        except Refused as error:
            return self._again(error)
        self._renew()
        return steps.run_in_view(
            self._measured(), lambda read: self._note(true_ma, true_mw, *read), self._leave_said,
        )  # fmt: skip

    def _note(self, true_ma: int, true_mw: int, read_ma: int, read_mw: int) -> CommandResult:
        point = Point(true_ma, true_mw, read_ma, read_mw)
        try:
            check_point(point)
        except Refused as error:
            return self._again(error)
        self._points.append(point)
        return self._ask("calibrate.point", count=len(self._points), **point_text(point))

    def _again(self, error: Refused) -> Prompt:
        return self._ask("calibrate.again", why=self._context.words(f"calibration.{error.code}", **error.params))

    def _fit(self) -> CommandResult:
        try:
            gains = fitted(self._points, self._before)
        except Refused as error:
            return self._again(error)
        before, after = gain_text(self._before), gain_text(gains)
        words = self._context.words
        text = words("calibrate.fitted", count=len(self._points), current=after["current"], power=after["power"],
                     old_current=before["current"], old_power=before["power"])  # fmt: skip
        return Prompt(text, words("prompt.answer"), lambda typed: self._set(typed, gains), self._leave, MAX_ANSWER_S)

    def _set(self, typed: str, gains: Gains) -> CommandResult:
        if not is_yes(typed):
            self._leave()
            return Output(self._context.words("answer.no"))
        self._context.guard.request(lambda id: SetGains(id, self._number, gains, self._context.who))
        self._renew()
        return steps.run_in_view(self._read_back(), lambda read: self._judge(gains, *read), self._leave_said)

    def _read_back(self) -> steps.Steps[tuple[int, int]]:
        yield from steps.wait_for(self._context, READ_BACK_NS)  # the chip is configured again
        return (yield from self._measured())

    def _measured(self) -> steps.Steps[tuple[int, int]]:
        """Measure the mean load. This takes some seconds, so the text explains the effect of an early Enter."""
        yield self._context.words("calibrate.measuring")
        return (yield from steps.mean_load(self._context, self._number))

    def _judge(self, gains: Gains, read_ma: int, read_mw: int) -> CommandResult:
        """Compare the new reading with the reference values of the last load, which is still plugged in."""
        last = self._points[-1]
        off_power, off_current = relative_deviation(last.true_mw, read_mw), relative_deviation(last.true_ma, read_ma)
        good = max(abs(off_power), abs(off_current)) <= MAX_DEVIATION
        if not good:
            self._context.guard.request(lambda id: SetGains(id, self._number, self._before, self._context.who))
        self._leave()
        params = {"watts": f"{read_mw / 1000:.1f}", "amps": f"{read_ma / 1000:.3f}",
                  "off_power": f"{100 * off_power:+.2f}", "off_current": f"{100 * off_current:+.2f}"}  # fmt: skip
        key = "calibrate.kept" if good else "calibrate.put_back"
        return Output(kept(self._context, self._context.words(key, outlet=self._number, **params)),
                     {"outlet": self._number, "kept": good, "gains": gains, "before": self._before})  # fmt: skip

    def _leave(self) -> None:
        steps.open_test(self._context, self._number)

    def _leave_said(self) -> str:
        self._leave()
        return self._context.words("calibrate.left", outlet=self._number)


def point_text(point: Point) -> dict[str, str]:
    return {
        "true_watts": f"{point.true_mw / 1000:.1f}",
        "true_amps": f"{point.true_ma / 1000:.3f}",
        "watts": f"{point.read_mw / 1000:.1f}",
        "amps": f"{point.read_ma / 1000:.3f}",
    }
