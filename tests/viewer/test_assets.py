"""Modules joined into one: what runs is the same, and what cannot be joined is said."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import vitattn_widgets as va
from vitattn_widgets.viewer.assets import STATIC, bundle, stylesheet

NODE = shutil.which("node")
PACKAGE = Path(va.__file__).parent
DOORS = [PACKAGE / door / "static" / "host.js" for door in ("explorer", "demo", "export")]

MODULES = {
    "entry.js": """// @ts-check
import { half, Twice } from "./lib/numbers.js";
import {
  say,
} from "./words.js";

/** @typedef {import("./lib/numbers.js").Twice} Twice */

/**
 * The answer.
 */
export async function answer(value) {
  // The reason.
  const importance = 1; /** @type {number} */
  return say(half(new Twice(value).result) + importance);
}

export default { answer };
""",
    "words.js": """import { half } from "./lib/numbers.js";

/** @type {string} */ const START = "half of two is ";

export const say = (value) => `${START}${half(2)}, and the answer is ${value}`;
""",
    "lib/numbers.js": """export class Twice {
  constructor(value) {
    this.result = 2 * value;
  }
}

export function half(value) {
  return value / 2;
}
""",
}


def written(folder: Path, modules: dict[str, str]) -> Path:
    """Write modules and return the first."""
    for name, text in modules.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / next(iter(modules))


def run(script: str, folder: Path) -> str:
    """What a module prints."""
    path = folder / "run.mjs"
    path.write_text(script, encoding="utf-8")
    return subprocess.run([str(NODE), path], check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_joined_modules_do_what_the_modules_do(tmp_path: Path) -> None:
    entry = written(tmp_path, MODULES)
    asking = "console.log(await answer(41));"
    assert run(bundle(entry, keep_exports=True) + asking, tmp_path) == "half of two is 1, and the answer is 42"
    (tmp_path / "package.json").write_text('{"type": "module"}')
    separate = 'import { answer } from "./entry.js"; import kept from "./entry.js";'
    assert run(f"{separate} {asking}", tmp_path) == run(f"{separate} console.log(await kept.answer(41));", tmp_path)


def test_each_module_comes_once_after_those_that_it_imports(tmp_path: Path) -> None:
    text = bundle(written(tmp_path, MODULES))
    places = [text.index(name) for name in ("class Twice", "const START", "async function answer")]
    assert places == sorted(places)
    assert text.count("class Twice") == 1
    assert re.findall(r"^(?:import|export).*", text, re.MULTILINE) == [
        "export async function answer(value) {",
        "export default { answer };",
    ]
    assert "The answer." not in text
    assert "The reason." not in text
    # a comment with code after it stays, with the code
    assert '/** @type {string} */ const START = "half of two is ";' in text


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_equal_names_of_two_modules_stay_their_own(tmp_path: Path) -> None:
    words = "const half = 7;\nclass Twice {}\nexport const say = (value) => [half, typeof Twice, value].join();\n"
    entry = written(tmp_path, MODULES | {"words.js": words})
    assert run(bundle(entry, keep_exports=True) + "console.log(await answer(41));", tmp_path) == "7,function,42"


def test_a_script_exports_nothing(tmp_path: Path) -> None:
    modules = {**MODULES, "entry.js": MODULES["entry.js"].replace("export default { answer };\n", "answer(41);\n")}
    text = bundle(written(tmp_path, modules), keep_exports=False)
    assert not re.search(r"^(?:import|export)", text, re.MULTILINE)
    with pytest.raises(ValueError, match=r"entry.js: cannot join 'export default \{ answer \};'"):
        bundle(written(tmp_path, MODULES), keep_exports=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lib/numbers.js": 'import { say } from "../words.js";\n'}, "import each other in a circle: .*words.js"),
        ({"words.js": "export let say = 1;\n"}, "entry.js imports say, which words.js does not export"),
        ({"words.js": "export const tell = 1;\n"}, "entry.js imports say, which words.js does not export"),
        ({"words.js": 'import { half as h } from "./lib/numbers.js";\n'}, "cannot join the import of 'half as h'"),
        ({"words.js": 'import * as all from "./lib/numbers.js";\nexport const say = 1;\n'}, "words.js: cannot join"),
        ({"words.js": "export const say = 1;\nexport { say as tell };\n"}, "words.js: cannot join 'export { say"),
        ({"words.js": "export const say = 1;\nexport default say;\n"}, "words.js: cannot join 'export default"),
    ],
)
def test_what_cannot_be_joined_is_said(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bundle(written(tmp_path, MODULES | changes))


def test_a_module_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"words\.js"):
        bundle(written(tmp_path, {name: MODULES[name] for name in ("entry.js", "lib/numbers.js")}))


# --- the viewer itself ---


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.parts[-3])
def test_every_door_can_be_joined(door: Path) -> None:
    text = bundle(door, keep_exports=True)
    exported = re.findall(r"^export .*", text, re.MULTILINE)
    assert len(exported) <= 1
    for address in re.findall(r"https?://[^\s\"'`)]+", text):
        assert address.startswith("http://www.w3.org/"), address
    assert "eval(" not in text
    assert "innerHTML" not in text


@pytest.mark.skipif(NODE is None, reason="needs Node")
@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.parts[-3])
def test_the_joined_text_is_valid(door: Path, tmp_path: Path) -> None:
    path = tmp_path / "joined.mjs"
    path.write_text(bundle(door), encoding="utf-8")
    subprocess.run([str(NODE), "--check", path], check=True, timeout=60)


def test_the_engine_knows_no_page() -> None:
    for path in (STATIC / "engine").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(?:document|window|HTMLElement|fetch)\b[.(]", text), path.name
        assert "../parts/" not in text


def test_styles_begin_with_the_theme_and_end_with_narrow_screens() -> None:
    text = stylesheet()
    files = {path.stem: path.read_text(encoding="utf-8") for path in (STATIC / "css").glob("*.css")}
    assert all(part in text for part in files.values())
    assert text.startswith(files["theme"])
    if "narrow" in files:
        assert text.endswith(files["narrow"])
