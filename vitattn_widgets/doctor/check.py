"""One line of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "absent", "problem"]


@dataclass(frozen=True)
class Check:
    """What was found out about one thing.

    Attributes:
        name: the thing.
        status: ``"ok"``; ``"absent"`` for what the kit can do without; ``"problem"`` for what needs attention.
        found: what is there, in words.
        advice: what to do about it, in one line; empty if nothing is to be done.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
