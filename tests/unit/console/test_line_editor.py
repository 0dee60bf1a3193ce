"""Line editing: what bytes put on the terminal, and which lines come out, whatever the bytes are."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cabinet import normal_form, plain_text
from cabinet.console.terminal.columns import pad, width
from cabinet.console.terminal.line_editor import (
    MAX_LINE,
    MAX_REMEMBERED,
    Completions,
    ControlKey,
    ControlSequence,
    Echo,
    Editing,
    EnteredLine,
    LineEditor,
)


class Row:
    """The row of a terminal that knows printable characters, backspace and line feed, and nothing else."""

    def __init__(self) -> None:
        self.above = ""
        self._cells: list[str] = []
        self.column = 0

    def show(self, text: str) -> "Row":
        for character in text:
            if character == "\n":
                self.above += f"{self.text}\n"
                self._cells, self.column = [], 0
            elif character == "\b":
                assert self.column > 0, "into the prompt"
                self.column -= 1
            elif width(character) == 0:
                self._cells[self.column - 1] += character
            else:
                taken = [character, *[""] * (width(character) - 1)]
                self._cells[self.column : self.column + len(taken)] = taken
                self.column += len(taken)
        return self

    @property
    def text(self) -> str:
        return "".join(self._cells).rstrip()


def typed(*chunks: bytes, secret: bool = False) -> tuple[str, list[str | ControlKey]]:
    """The terminal's rows with all echo, and the lines and keys that came out."""
    editor = LineEditor()
    editor.secret = secret
    happened = [each for chunk in chunks for each in editor.feed(chunk)]
    echo = "".join(each.text for each in happened if isinstance(each, Echo))
    kept = [each for each in happened if isinstance(each, EnteredLine | ControlKey)]
    row = Row().show(echo)
    return row.above + row.text, [each.text if isinstance(each, EnteredLine) else each for each in kept]


def test_full_width_letters_are_narrowed_and_chinese_punctuation_stays():
    assert normal_form.command_line("ＬＯＣＫ　３　坏了，请勿使用！（１号）") == "LOCK 3 坏了，请勿使用！（1号）"


ENTERED = {
    "plain line": (b"status\r", "status\n", ["status"]),
    "line feed ends a line too": (b"status\n", "status\n", ["status"]),
    "carriage return and line feed end one line": (b"a\r\nb\r\n", "a\nb\n", ["a", "b"]),
    "two returns are two lines": (b"\r\r", "\n\n", ["", ""]),
    "backspace": (b"of\x08\x7fon\r", "on\n", ["on"]),
    "backspace at the start does nothing": (b"\x7f\x7fa\r", "a\n", ["a"]),
    "backspace over a Chinese character clears two columns": ("充\x7f\r".encode(), "\n", [""]),
    "Ctrl-U erases the line": (b"ab\x15c\r", "c\n", ["c"]),
    "Ctrl-W erases a word": (b"off 3\x174\r", "off 4\n", ["off 4"]),
    "Ctrl-C drops the line": (b"clear 3\x03\r", "clear 3^C\n\n", [ControlKey.INTERRUPT, ""]),
    "Ctrl-D on an empty line": (b"\x04", "", [ControlKey.END]),
    "Ctrl-D in a line is nothing": (b"a\x04\r", "a\n", ["a"]),
    "cursor keys are passed over": (b"a\x1b[D\x1b[1;5Cb\x1bOH\r", "ab\n", ["ab"]),
    "a cut-off sequence does not swallow the Enter": (b"a\x1b[\rb\r", "a\nb\n", ["a", "b"]),
    "control characters are dropped": (b"a\x00\x07\x0e\x1fb\r", "ab\n", ["ab"]),
    "invisible characters are dropped": ("a\u202eb\u200b\r".encode(), "ab\n", ["ab"]),
    "a tab is a blank": (b"off\t3\r", "off 3\n", ["off 3"]),
    "keys of a cursor are no input": (b"a\x01\x02\x05\x0b\x1b[A\r", "a\n", ["a"]),
    "broken UTF-8 becomes a mark": (b"a\xff\xc3(\r", "a��(\n", ["a��("]),
}


@pytest.mark.parametrize(("data", "echo", "out"), ENTERED.values(), ids=ENTERED)
def test_typed_bytes(data, echo, out):
    assert typed(data) == (echo, out)


OUTLETS = ["1", "2", "10"]


def editing(room: int = 60, *history: str) -> LineEditor:
    editor = LineEditor()
    editor.edits = Editing(room, lambda text: [o for o in OUTLETS if o.startswith(text.rpartition(" ")[2])], [*history])
    return editor


LEFT, RIGHT, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B"
EDITED = {
    "a letter goes in where the cursor is": (b"of 3" + 2 * LEFT + b"f\r", ["off 3"]),
    "the keys of another terminal": (b"ff 3\x1bOHo\x1bOF\x1bOD4\r", ["off 43"]),
    "home and end by letters": (b"ff \x01o\x053\r", ["off 3"]),
    "backspace before the cursor": (b"oxff 3" + 4 * LEFT + b"\x7f\r", ["off 3"]),
    "delete at the cursor": (b"oxff 3\x1b[1~" + RIGHT + b"\x1b[3~\r", ["off 3"]),
    "Ctrl-D in a line deletes": (b"xoff 3\x1b[H\x04\r", ["off 3"]),
    "Ctrl-K deletes the rest": (b"off 345" + 2 * LEFT + b"\x0b\r", ["off 3"]),
    "Ctrl-W before the cursor": ("off 充电 3".encode() + 2 * LEFT + b"\x17\r", ["off  3"]),
    "no cursor leaves the line": (9 * LEFT + b"3" + 9 * RIGHT + b"4\r", ["34"]),
    "history": (UP + UP + DOWN + b"\r", ["off 4"]),
    "history with the beginning typed": (b"o" + UP + UP + b"\r", ["outlet 3"]),
    "history back to the line typed": (b"o" + UP + DOWN + b"n 1\r", ["on 1"]),
    "history of what is not there": (b"x" + UP + b"\r", ["x"]),
    "the line before, changed": (b"status\r" + UP + b" 2\r", ["status", "status 2"]),
    "completion of the only word": (b"off 2\t\r", ["off 2"]),
    "completion as far as it is clear": (b"off 1\t0\t\r", ["off 10"]),
    "noise runs nothing and recalls nothing": (UP + b"\xff" + UP + b"\t\r" + b"ok\r", [ControlKey.TOO_LONG, "ok"]),
}


@pytest.mark.parametrize(("data", "out"), EDITED.values(), ids=EDITED)
def test_edited_line(data, out):
    happened = list(editing(60, "outlet 3", "faults", "off 4").feed(data))
    kept = [each for each in happened if not isinstance(each, Echo | Completions)]
    assert [each.text if isinstance(each, EnteredLine) else each for each in kept] == out


def test_several_words_are_offered_and_the_line_stays():
    editor = editing()
    happened = list(editor.feed(b"off \t"))
    assert [each for each in happened if isinstance(each, Completions)] == [Completions(OUTLETS)]
    assert editor.redrawn() == "off "


def test_history_is_bounded_and_keeps_no_line_twice_in_a_row():
    editor = editing()
    assert editor.edits is not None
    list(editor.feed(b"".join(b"x%d\rsame\rsame\r" % n for n in range(MAX_REMEMBERED))))
    assert editor.edits.history[-2:] == [f"x{MAX_REMEMBERED - 1}", "same"]
    assert len(editor.edits.history) == MAX_REMEMBERED


KEYS = st.sampled_from(
    ["a", "b ", "充", "\x7f", "\x15", "\x17", "\x0b", "\x04", "\x1b[D", "\x1b[C", "\x1b[H", "\x1b[F",
     "\x1b[3~", "\x1b[A", "\x1b[B", "\t", "x" * 30]
)  # fmt: skip


@example(["x" * 30, *["\x7f"] * 16], 10)  # erased up to the first character shown
@given(st.lists(KEYS, max_size=60), st.integers(4, 75))
def test_terminal_shows_the_line_beside_the_prompt_and_the_cursor_in_its_place(keys, room):
    editor = editing(room, "outlet 3", "lock 4 充电插座坏了充电插座坏了充电插座坏了")
    row = Row()
    for key in keys:
        for happened in editor.feed(key.encode()):
            if isinstance(happened, Echo):
                row.show(happened.text)
        line, cursor = "".join(editor._characters), editor._cursor
        assert (row.text, row.column) == ((drawn := Row().show(editor.redrawn())).text, drawn.column)
        assert width(row.text) <= room
        assert row.text in line
        assert row.column <= room
        assert (row.column > 0) == (cursor > 0), "text before the cursor is in view"
        if width(line) <= room:
            assert (row.text, row.column) == (line.rstrip(), width(line[:cursor]))


def test_what_a_terminal_answers_is_told_whole_and_only_whole():
    editor = LineEditor()
    happened = [each for chunk in (b"a\x1b[?62;", b"22c", b"\x1b[24;8\r", b"\x1b[5;9R") for each in editor.feed(chunk)]
    assert [each.sequence for each in happened if isinstance(each, ControlSequence)] == ["[?62;22c", "[5;9R"]


def test_nothing_of_a_secret_is_echoed():
    assert typed(b"12\x7f3456\r", secret=True) == ("\n", ["13456"])


def test_secret_counts_from_where_it_is_set():
    editor = LineEditor()
    echo = ""
    for happened in editor.feed(b"tech\r123456\rx"):
        if isinstance(happened, Echo):
            echo += happened.text
        else:
            editor.secret = not editor.secret
    assert echo == "tech\n\nx"


def test_character_may_come_byte_by_byte():
    assert typed(*(bytes([byte]) for byte in "充电\r".encode())) == ("充电\n", ["充电"])


def test_too_long_line_is_not_handed_over_in_part():
    assert typed(b"off 3" + b" " * MAX_LINE + b"\rhelp\r")[1] == [ControlKey.TOO_LONG, "help"]


def test_backspace_does_not_make_a_too_long_line_good():
    assert typed(b"x" * (MAX_LINE + 1) + b"\x7f\x7f\r")[1] == [ControlKey.TOO_LONG]


def test_erasing_a_too_long_line_makes_it_good():
    assert typed(b"x" * (MAX_LINE + 1) + b"\x15help\r")[1] == ["help"]


def test_line_without_end_is_not_kept():
    editor = LineEditor()
    echoed = sum(len(each.text) for each in editor.feed(b"y" * 200_000) if isinstance(each, Echo))
    assert echoed == MAX_LINE
    assert len(editor._characters) == MAX_LINE


def test_reset_forgets_half_a_line_half_a_character_and_half_a_sequence():
    for half in (b"off ", "充".encode()[:2], b"\x1b["):
        editor = LineEditor()
        list(editor.feed(half))
        editor.reset()
        assert [each for each in editor.feed(b"help\r") if isinstance(each, EnteredLine)] == [EnteredLine("help")]


def test_every_kind_of_blank_is_a_blank():
    assert typed("status\u3000\tx\r".encode())[1] == ["status  x"]


@given(st.lists(st.binary(max_size=60), max_size=20))
@example([b"\x1b[" + b"0" * 100 + b"a\r"])
@example(["\u205f\u2028\u00a0\r".encode()])
@pytest.mark.parametrize("make", [LineEditor, editing], ids=["plain", "edited"])
def test_any_bytes_leave_a_bounded_editor_that_still_takes_a_line(make, chunks):
    editor = make()
    for chunk in chunks:
        for happened in editor.feed(chunk):
            if isinstance(happened, EnteredLine):
                assert len(happened.text) <= MAX_LINE
                # A character that this Python does not know yet is let through: it may be a name's tomorrow.
                assert plain_text.one_line(happened.text) == happened.text
    assert len(editor._characters) <= MAX_LINE
    assert list(editor.feed(b"\r\x03help\r"))[-1] == EnteredLine("help")


def test_width_and_padding_count_columns():
    assert [width(text) for text in ("ab", "充电", "é", "e\u0301", "３")] == [2, 4, 1, 1, 2]
    assert (pad("充电", 6), pad("充电", -6), pad("充电", 2)) == ("充电  ", "  充电", "充电")
