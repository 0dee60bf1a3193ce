"""`commission`: guides a technician through the steps, stores the findings, and writes the report at the end."""

from collections.abc import Callable
from pathlib import Path

from cabinet import normal_form
from cabinet.console.accounts import Level
from cabinet.console.arguments import choice, optional
from cabinet.console.command import CommandContext, CommandResult, Output, Prompt, command
from cabinet.console.commands import steps as waiting
from cabinet.console.commands.force import require_no_charge
from cabinet.console.commission import probing, report, steps
from cabinet.console.commission.findings import (
    SKIP,
    AskTechnician,
    CommissioningStep,
    Finding,
    StepObservation,
    StepRequest,
)
from cabinet.console.commission.record import CommissioningFolder, CommissioningRecord, fingerprint
from cabinet.console.commission.steps import Conversation, summary
from cabinet.console.terminal.columns import pad
from cabinet.errors import CabinetError
from cabinet.maintenance import Attribution

MAX_ANSWER_S = 290.0  # time to walk round the cabinet with a lamp; the login's idle limit is longer


@command("commission", Level.SERVICE, optional(choice("commission", "again", "status")))
def commission(context: CommandContext, what: str | None) -> CommandResult:
    """Continue the last run; `again` starts a new one, `status` only shows the record."""
    records = CommissioningFolder(Path(context.config.paths.state))
    wiring = fingerprint(context.config)
    record = None if what == "again" else records.load(wiring)
    if what == "status":
        return _status(context, record)
    require_no_charge(context)
    if record is None or (record.finished is not None and not record.left(_plan(context))):
        record = CommissioningRecord(wiring, _signed(context))
    return CommissioningDialogue(context, records, record).continue_run()


def _plan(context: CommandContext) -> list[CommissioningStep]:
    return steps.plan(
        context.config, context.guard.maintenance_state(), context.config.hardware.contactor_pin is not None
    )


def _signed(context: CommandContext) -> Attribution:
    wall = context.clock.wall()
    return Attribution(context.who, wall.unix_ms, wall.trusted)


def _status(context: CommandContext, record: CommissioningRecord | None) -> CommandResult:
    words = context.words
    if record is None:
        return Output(words("commission.never"), None)
    planned = _plan(context)
    done = sum(step.key in record.found for step in planned)
    lines = [
        words("commission.status", done=done, steps=len(planned), moment=report.moment(record.begun, context.zone))
    ]
    lines += [f"  ! {report.finding_text(finding, words)}" for finding in summary(record.found)]
    if record.finished is not None:
        lines.append(
            words("commission.signed", moment=report.moment(record.finished, context.zone), who=record.finished.who)
        )
    return Output("\n".join(lines), record)


class CommissioningDialogue:
    """One session of a commissioning run."""

    def __init__(self, context: CommandContext, records: CommissioningFolder, record: CommissioningRecord) -> None:
        self._context = context
        self._records = records
        self._record = record
        self._plan = _plan(context)
        self._left = record.left(self._plan)
        self._conversation: Conversation | None = None
        self._said: list[str] = []  # lines to show above the next prompt

    def continue_run(self) -> CommandResult:
        words = self._context.words
        self._said.append(words("commission.begin", left=len(self._left), steps=len(self._plan)))
        return self._next_step()

    def _next_step(self) -> CommandResult:
        if not self._left:
            return self._ask_name()
        self._conversation = steps.begin(self._left[0], self._context.config, self._record.found)
        return self._advance(lambda conversation: next(conversation))

    def _advance(self, move: Callable[[Conversation], StepRequest]) -> CommandResult:
        """Move the conversation to its next need, or end the step."""
        assert self._conversation is not None
        try:
            need = move(self._conversation)
        except StopIteration as end:
            return self._step_over(end.value)
        if isinstance(need, AskTechnician):
            return self._ask(need)
        return waiting.run_in_view(probing.carry_out(self._context, need), self._send, self._left_said)

    def _send(self, seen: StepObservation) -> CommandResult:
        return self._advance(lambda conversation: conversation.send(seen))

    def _ask(self, need: AskTechnician) -> CommandResult:
        words = self._context.words
        done = len(self._plan) - len(self._left) + 1
        title = words("commission.step", number=done, steps=len(self._plan),
                      step=report.step_name(self._left[0], words))  # fmt: skip
        text = "\n".join([*self._said, title, words(f"ask.{need.key}", **need.params)])
        self._said = []
        return Prompt(text, words("commission.prompt"), self._answer, within_s=MAX_ANSWER_S)

    def _answer(self, typed: str) -> CommandResult:
        word = typed.strip()
        return self._send(SKIP if word.lower() in (SKIP, "跳过") else word)

    def _step_over(self, findings: list[Finding]) -> CommandResult:
        """Write the findings to disk before the next prompt."""
        step = self._left.pop(0)
        self._record.note(step, findings, _signed(self._context))
        self._record.finished = None
        self._records.save(self._record)
        words = self._context.words
        self._said += [
            f"{pad(words(f'verdict.{finding.verdict.value}'), 8)} {report.finding_text(finding, words, step)}"
            for finding in findings
        ]
        return self._next_step()

    def _left_said(self) -> str:
        return self._context.words("commission.left")

    # --- end of the run ---------------------------------------------------------------------------------------------

    def _ask_name(self) -> CommandResult:
        words = self._context.words
        wrong = [f"  ! {report.finding_text(finding, words)}" for finding in summary(self._record.found)]
        verdict = words("commission.passed") if not wrong else words("commission.not_passed")
        text = "\n".join([*self._said, verdict, *wrong, words("ask.name")])
        self._said = []
        return Prompt(text, words("commission.name_prompt"), self._write, within_s=MAX_ANSWER_S)

    def _write(self, name: str) -> CommandResult:
        """Write the text, which is the report, then the PDF for paper, which needs a font that may be missing."""
        name = normal_form.text(name)
        if not name:
            return Output(self._context.words("commission.unsigned"))
        context, record, words = self._context, self._record, self._context.words
        now = _signed(context)
        key = report.load_key(Path(context.config.paths.state))
        body = report.compose(record, self._plan, context.config, words, name, now)
        text = report.sign(body, key)
        stem = f"{context.config.site.site_id}-{now.unix_ms // 1000}"
        path = self._records.write(f"{stem}.txt", text.encode())
        lines = [words("commission.written", path=path)]
        from cabinet.stickers import font as fonts  # fontTools: not at the start of every console

        try:
            font = fonts.find(text.replace("\n", ""))
            lines.append(words("commission.written", path=self._records.write(f"{stem}.pdf",
                         report.to_pdf(text, stem, font))))  # fmt: skip
        except CabinetError as error:
            lines.append(words("commission.no_pdf", why=str(error)))
        record.finished = now
        self._records.save(record)
        wrong = summary(record.found)
        if wrong:
            lines.append(words("commission.mend"))
        return Output("\n".join(lines), {"protocol": str(path), "wrong": wrong})
