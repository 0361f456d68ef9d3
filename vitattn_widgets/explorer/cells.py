"""Explorers by the notebook cell that made them, so that a cell that runs again frees those of its last run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from weakref import ref

Closable = Any
"""Anything with a method `close`."""

_made: dict[str, tuple[str, list[ref[Closable]]]] = {}
"""By cell: the message that ran it last, and what it made then."""


def made_by_this_cell(explorer: Closable) -> None:
    """Note what the running cell makes; what the same cell made when it ran before is closed.

    Two explorers of one run do not close each other. Outside a notebook, or where the front end does not name its
    cells, nothing is noted.
    """
    cell, message = running_cell()
    if not cell:
        return
    last, made = _made.get(cell, (message, []))
    if last != message:
        for reference in made:
            if (old := reference()) is not None:
                old.close()
        made = []
    _made[cell] = message, [*made, ref(explorer)]


def running_cell() -> tuple[str, str]:
    """The id of the running notebook cell and of the message that runs it; empty outside a notebook."""
    if "IPython" not in sys.modules:
        return "", ""
    parent_of: Callable[[], Any] = getattr(sys.modules["IPython"].get_ipython(), "get_parent", dict)
    parent = parent_of()
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")
