"""The explorer's page: scripts and styles, a file a noun, joined to what a browser loads as one."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "static" / "explorer"

SHEETS = ("theme", "photos", "controls", "body", "overview", "check", "compare", "foot", "narrow")
"""Styles in the order in which they hold; of equal ones the last wins."""


def script() -> str:
    """All scripts as one module: their functions see each other, and `explorer.js` exports what a widget needs."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.js")))


def style() -> str:
    """All styles as one sheet."""
    return "\n".join((FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in SHEETS)
