"""The scripts use no function that the oldest browsers they are bundled for do not have.

esbuild lowers syntax to `OLDEST_BROWSERS` and leaves functions as they are: one that a browser of 2018 does not know
stops the script, and the curve, or every live page, is dead there. MEMBERS and GLOBALS are names that came to one of
the three browsers after the version we promise and that nothing older is called by (MDN's browser-compat-data, CC0).
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import bundle

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "frontend" / "src"

OLDEST_BROWSERS = "chrome64,safari12,firefox67"  # that the names were listed for

_MEMBERS = """
    allSettled any at checkVisibility createConicGradient difference findLast findLastIndex flat flatMap fromAsync
    fromEntries getAnimations getHTML getOrInsert groupBy hasIndices hasOwn intersection isDisjointFrom isSubsetOf
    isSupersetOf isWellFormed matchAll moveBefore randomUUID replaceAll replaceChildren requestSubmit roundRect setHTML
    setHTMLUnsafe showPopover startViewTransition symmetricDifference throwIfAborted toReversed toSorted toSpliced
    toWellFormed toggleAttribute togglePopover trimEnd trimStart union visualViewport withResolvers
"""
_GLOBALS = """
    globalThis queueMicrotask reportError requestIdleCallback structuredClone AbortController AggregateError BigInt
    BroadcastChannel CompressionStream FinalizationRegistry IntersectionObserver OffscreenCanvas ResizeObserver Temporal
    URLPattern WeakRef
"""
MEMBERS, GLOBALS = frozenset(_MEMBERS.split()), frozenset(_GLOBALS.split())

PROVIDED = {"flat", "fromEntries", "queueMicrotask"}  # by frontend/src/old.js
ASKED_FOR = {
    "IntersectionObserver": "htmx, for the trigger `intersect` only, which no page has",
    "moveBefore": "htmx asks whether it is there",
    "startViewTransition": "htmx asks whether it is there",
}


def scripts() -> dict[str, str]:
    """Our sources; and the bundles with the libraries, where they are made from these sources."""
    found = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.glob("*.js")}
    if bundle.is_current():
        found |= {f"dist/{path.name}": path.read_text(encoding="utf-8") for path in bundle.DIST.glob("*.js")}
    return found


def used(text: str) -> set[str]:
    """Newer names that stand there: members after a dot, the others anywhere but in a comment."""
    code = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    return {*(MEMBERS & {*re.findall(r"\.([a-zA-Z]+)\b", code)}), *(GLOBALS & {*re.findall(r"\b[a-zA-Z]+\b", code)})}


def test_the_list_is_that_of_the_browsers_the_bundle_is_made_for() -> None:
    assert bundle.OLDEST_BROWSERS == OLDEST_BROWSERS, "the list of newer names is to be made anew"


def test_no_script_uses_what_the_oldest_browsers_do_not_have() -> None:
    for name, text in scripts().items():
        if name != "old.js":
            assert used(text) - PROVIDED - set(ASKED_FOR) == set(), name


def test_our_own_scripts_need_nothing_provided() -> None:
    for path in SOURCES.glob("*.js"):
        if path.name != "old.js":
            assert used(path.read_text(encoding="utf-8")) == set(), path.name


@pytest.mark.parametrize(
    "line",
    ["holder.replaceChildren();", "const last = points.at(-1);", "structuredClone(x)", "new ResizeObserver(seen)",
     "text.replaceAll('a', 'b')", "[...x].flat()"],
)  # fmt: skip
def test_what_is_too_new_is_found(line: str) -> None:
    assert used(line) != set()


def test_what_is_missing_is_provided_before_anything_else_is_loaded() -> None:
    first = next(line for line in (SOURCES / "app.js").read_text().splitlines() if line.startswith("import"))
    assert first == 'import "./old.js";'
    assert (SOURCES / "charge.js").read_text().index('"./app.js"') < (SOURCES / "charge.js").read_text().index("chart")


RUN = """
delete Array.prototype.flat; delete Object.fromEntries; delete globalThis.queueMicrotask;
class MediaQueryList { addListener(listener) { this.listener = listener; } removeListener() { this.listener = null; } }
globalThis.window = globalThis; globalThis.MediaQueryList = MediaQueryList;
await import(process.argv[1]);
const list = new MediaQueryList(), heard = () => 1;
list.addEventListener("change", heard);
const added = list.listener === heard;
list.removeEventListener("change", heard);
queueMicrotask(() => console.log(JSON.stringify(
  [[[1], [2, [3]], 4].flat(), Object.fromEntries(new Map([["a", 1]])), added, list.listener])));
"""


def test_what_is_provided_does_what_it_should(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    shutil.copy(SOURCES / "old.js", tmp_path / "old.mjs")
    done = subprocess.run(
        [node, "--input-type=module", "-e", RUN, str(tmp_path / "old.mjs")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ('[[1,2,[3],4],{"a":1},true,null]\n', "")
