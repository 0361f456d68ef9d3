"""Scripts and styles of the viewer: ES modules joined into one, so that a page needs no server and no import map."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""The scripts and styles that every front end uses."""

_IMPORT = re.compile(r'^import\s*\{([^{}]*)\}\s*from\s*"(\.{1,2}/[^"]+\.js)";\n', re.MULTILINE)
_KINDS = r"(?:(?:async )?function\*?|class|const)"
_EXPORT = re.compile(rf"^export (?={_KINDS} )", re.MULTILINE)
_EXPORTED = re.compile(rf"^export {_KINDS} (\w+)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*(?:(?!\*/).)*\*/[ \t]*|//[^\n]*)\n", re.MULTILINE | re.DOTALL)


def bundle(entry: Path, keep_exports: bool = True) -> str:
    """An ES module and everything that it imports, as the text of one module, without the lines of comments.

    Modules import by ``import { a, b } from "./x.js";`` alone, without ``as``, and export declarations; only `entry`
    may have a default export. Each module but `entry` becomes a function that returns its exports, so that its other
    names stay its own.

    Args:
        entry: the module that is run; its imports come before it, each once.
        keep_exports: whether what `entry` exports is exported; otherwise the text is a plain script.

    Raises:
        FileNotFoundError: a module that is imported does not exist.
        ValueError: an import or export of another form, or of a name that is not there; or modules that import each
            other in a circle.
    """
    entry = entry.resolve()
    texts: dict[Path, str] = {}
    imports: dict[Path, dict[Path, set[str]]] = {}
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path in texts:
            continue
        texts[path] = _COMMENT.sub("", path.read_text(encoding="utf-8"))
        imports[path] = _imports(path, texts[path])
        waiting += imports[path]
    try:
        # every module after those that it imports
        order = list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        circle = " -> ".join(path.name for path in error.args[1])
        raise ValueError(f"modules import each other in a circle: {circle}") from error
    for path in order:
        for source, names in imports[path].items():
            if missing := names - set(_EXPORTED.findall(texts[source])):
                listed = ", ".join(sorted(missing))
                raise ValueError(f"{path.name} imports {listed}, which {source.name} does not export")
    places = {path: f"module_{number}_{path.stem}" for number, path in enumerate(order)}
    parts = []
    for path in order:
        given = "".join(
            f"const {{ {', '.join(sorted(names))} }} = {places[source]};\n" for source, names in imports[path].items()
        )
        text = given + _inlined(path, texts[path], keep_exports and path == entry)
        if path != entry:
            exported = ", ".join(_EXPORTED.findall(texts[path]))
            text = f"const {places[path]} = (() => {{\n{text}return {{ {exported} }};\n}})();\n"
        parts.append(text)
    return "\n".join(parts)


def _imports(path: Path, text: str) -> dict[Path, set[str]]:
    """The imported modules of a module and the names that it imports from each."""
    found: dict[Path, set[str]] = {}
    for names, source in _IMPORT.findall(text):
        listed = {name.strip() for name in names.split(",")} - {""}
        if renamed := [name for name in listed if not name.isidentifier()]:
            raise ValueError(f"{path.name}: cannot join the import of {renamed[0]!r}; import it by its own name")
        found.setdefault((path.parent / source).resolve(), set()).update(listed)
    return found


def _inlined(path: Path, text: str, exporting: bool) -> str:
    text = _IMPORT.sub("", text)
    if not exporting:
        text = _EXPORT.sub("", text)
    for line in _LEFT.findall(text):
        if not exporting or line.startswith("import"):
            raise ValueError(f"{path.name}: cannot join {line!r}")
    return text.strip() + "\n"


def stylesheet() -> str:
    """The viewer's styles in one: the theme first, the rules for narrow screens last, which win."""

    def place(path: Path) -> tuple[bool, bool, str]:
        return path.stem == "narrow", path.stem != "theme", path.stem

    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((STATIC / "css").glob("*.css"), key=place))
