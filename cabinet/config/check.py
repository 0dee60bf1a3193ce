"""Reader of `cabinet.toml` that finds every mistake: one `ConfigError` per mistake, each with its key's path.

A path counts tables from 1, as people do: `outlet[3].relay` is in the third `[[outlet]]` table.
"""

import copy
import difflib
import functools
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args

import msgspec

from cabinet import normal_form, plain_text
from cabinet.config.conflicts import conflicts
from cabinet.config.keys import Config
from cabinet.errors import ConfigError, ConfigErrors
from cabinet.sections import Section

UNITS = {
    "_a": "ampere", "_v": "volt", "_w": "watt", "_s": "second", "_c": "degree Celsius", "_k": "kelvin",
    "_hz": "hertz", "_fen": "fen (0.01 yuan)", "_k_per_min": "kelvin a minute", "_fen_per_kwh": "fen a kWh",
    "_fen_per_hour": "fen an hour", "_minutes": "minute", "_share": "share of 1",
}  # fmt: skip

NORMAL_FORMS: dict[str, Callable[[str], str]] = {
    "name": normal_form.text, "name_en": normal_form.text, "complaint_phone": normal_form.text,
    "version": normal_form.text, "code": normal_form.outlet_code, "site_id": normal_form.outlet_code,
}  # fmt: skip
"""Normal forms of keys that people read or type; all others are used as written."""

T = TypeVar("T", bound=Section)


class Form(NamedTuple, Generic[T]):
    """Form of a file: its keys, and a source of a good file, for samples of missing values."""

    keys: type[T]
    sample: Callable[[], dict[str, Any]]


_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
NOTHING = "…"  # in a message, if there is no value to show

_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")


def load(path: Path) -> Config:
    """Return the checked configuration in `path`. Raises ConfigErrors, also if the file cannot be read."""
    return parse(read(path), str(path))


def read(path: Path) -> str:
    """Return the text in `path`. Raises ConfigErrors if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {error.strerror if isinstance(error, OSError) else 'not UTF-8'}"
        raise ConfigErrors(str(path), [ConfigError("file", problem)]) from error


def parse(text: str, source: str = "cabinet.toml") -> Config:
    """Return the configuration in `text`. Raises ConfigErrors with every mistake found."""
    return parse_as(Form(Config, _good_file), conflicts, text, source)


def parse_as(form: Form[T], conflicts_of: Callable[[T], Iterable[ConfigError]], text: str, source: str) -> T:
    """Return the contents of `text` in that form. Raises ConfigErrors with every mistake found."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors(source, [ConfigError("file", f"not valid TOML: {error}")]) from error
    unseen = list(_normalised(raw, []))
    errors, values = _decode(form, raw)
    errors = unseen + errors
    if values is not None:
        errors += [found for found in conflicts_of(values) if not _follows_from(found, errors)]
    if values is None or errors:
        raise ConfigErrors(source, errors)
    return values


def _normalised(tree: Any, steps: list[str]) -> Iterator[ConfigError]:
    """Bring the texts in `tree` into their normal form; yield a mistake for each text with invisible characters."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        here = [*steps, str(key)]
        if isinstance(value, dict | list):
            yield from _normalised(value, here)
        elif isinstance(value, str):
            form = tree[key] = NORMAL_FORMS.get(str(key), str)(value)
            if plain_text.REPLACED in (shown := plain_text.one_line(form)):
                signs = sorted({f"U+{ord(each):04X}" for each in value if plain_text.one_line(each) != each})
                what = ", ".join(signs) or shown
                yield ConfigError(_path(here), f"holds what cannot be seen or is no text ({what}): write it again")


def _decode(form: Form[T], raw: dict[str, Any]) -> tuple[list[ConfigError], T | None]:
    """Return every mistake of a single key, and the values without those keys, if they are optional.

    After a mistake the key is left out, or replaced by a sample if it is required, and the search continues. If a
    sample was used, no values are returned: a conflict with a sample is not the person's mistake.
    """
    errors: list[ConfigError] = []
    made_up = False
    while True:
        try:
            values = msgspec.convert(raw, form.keys)
            return errors, None if made_up else values
        except msgspec.ValidationError as error:
            match = _WHERE.match(str(error))
            assert match is not None  # the pattern matches every text
            steps = [step["key"] or step["index"] for step in _STEP.finditer(match["path"] or "")]
            missing = re.search(r"missing required field `(.*)`", match["what"])
            found, culprit = _missing(steps, missing[1]) if missing else _explain(form, match["what"], steps, raw)
            if not any(found.key_path == earlier.key_path for earlier in errors):
                errors.append(found)
            replace = missing is not None or (bool(culprit) and culprit[-1].isdigit())  # the list keeps its length
            made_up = made_up or replace
            if not (_put_sample(form, raw, culprit) if replace else _leave_out(raw, culprit)):
                return errors, None


def _follows_from(found: ConfigError, errors: list[ConfigError]) -> bool:
    """Return whether a conflict is about a key that was left out because of its own mistake."""
    return any(re.search(re.escape(error.key_path) + r"(?!\w)", str(found)) for error in errors)


def _missing(steps: list[str], name: str) -> tuple[ConfigError, list[str]]:
    return ConfigError(_path([*steps, name]), "is missing, and has no default"), [*steps, name]


def _explain(form: Form[T], what: str, steps: list[str], raw: dict[str, Any]) -> tuple[ConfigError, list[str]]:
    """Return the mistake in our words, and the steps to the key to leave out."""
    if unknown := re.search(r"unknown field `(.*)`", what):
        name = unknown[1]
        near = difflib.get_close_matches(name, _keys_of(form.keys, steps), 1, cutoff=0.5)
        hint = f"; did you mean {near[0]}{_unit(near[0], ' (in ', ')')}?" if near else ""
        return ConfigError(_path([*steps, name]), f"unknown key{hint}"), [*steps, name]
    name = steps[-1] if steps else ""
    value = _value_at(raw, steps)
    problem = _in_words(what[0].lower() + what[1:].replace("`", ""))
    problem += f", got {value!r}" if ", got" not in problem else f" {value!r}"
    return ConfigError(_path(steps), problem + _unit(name, " (a plain number, unit ", ")")), steps


def _in_words(problem: str) -> str:
    """Replace type names with common words."""
    words = {"float": "number", "int": "whole number", "str": "text", "object": "table", "array": "list",
             "bool": "true/false"}  # fmt: skip
    problem = problem.replace(" | null", "").replace("got bool", "got")
    return re.sub(rf"\b({'|'.join(words)})\b", lambda found: words[found[0]], problem)


def unit_of(name: str) -> str:
    """Return the unit at the end of a key's name, in words; empty if it has none."""
    return UNITS.get(max((suffix for suffix in UNITS if name.endswith(suffix)), key=len, default=""), "")


def _unit(name: str, before: str, after: str) -> str:
    return f"{before}{unit}{after}" if (unit := unit_of(name)) else ""


def _path(steps: list[str]) -> str:
    path = "".join(
        f"[{int(step) + 1}]" if step.isdigit() else f"[{step}]" if step == "..." else f".{step}" for step in steps
    )
    return path.removeprefix(".") or "file"


def _value_at(raw: Any, steps: list[str]) -> Any:
    for step in steps:
        try:
            raw = raw[int(step)] if isinstance(raw, list) else raw[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return NOTHING
    return raw


def _leave_out(raw: Any, steps: list[str]) -> bool:
    """Remove the key at `steps`. Return False if there is none."""
    parent = _value_at(raw, steps[:-1])
    if steps and isinstance(parent, dict) and steps[-1] in parent:
        del parent[steps[-1]]
        return True
    return False


def _put_sample(form: Form[T], raw: Any, steps: list[str]) -> bool:
    """Set the value at `steps` to that of a good file. Return False if that is impossible."""
    sample = copy.deepcopy(_value_at(form.sample(), ["0" if step.isdigit() else step for step in steps]))
    parent = _value_at(raw, steps[:-1])
    if isinstance(parent, dict) and sample != NOTHING:
        parent[steps[-1]] = sample
        return True
    if isinstance(parent, list) and sample != NOTHING:
        parent[int(steps[-1])] = sample
        return True
    return False


@functools.cache
def _good_file() -> dict[str, Any]:
    return tomllib.loads(resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8"))


def _keys_of(table: Any, steps: list[str]) -> list[str]:
    """Return the names of the keys that the table at `steps` below `table` may hold."""
    for step in steps:
        if step.isdigit() or step == "...":
            continue
        table = _section_in(next((f.type for f in msgspec.structs.fields(table) if f.name == step), None))
        if table is None:
            return []
    return [field.name for field in msgspec.structs.fields(table)]


def _section_in(annotation: Any) -> type[Section] | None:
    """Return the Section class inside `annotation`, through Annotated, tuple and | None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)
