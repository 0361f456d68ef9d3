"""Scripts and styles of the front ends: one file per part of the page, joined into one text for the browser."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SHARED = Path(__file__).parent / "static"
"""The files that several front ends use."""


def joined(own: Path, names: Iterable[str]) -> str:
    """The text of some files, one after the other.

    Args:
        own: a front end's own folder; files that are not there are taken from `SHARED`.
        names: file names in reading order; of two equal CSS rules the later one wins.

    Raises:
        FileNotFoundError: a file is in neither folder.
    """
    paths = [own / name if (own / name).is_file() else SHARED / name for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
