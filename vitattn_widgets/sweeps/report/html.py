"""Pieces of HTML that the sections of a sweep's report share."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def section(title: str, content: str) -> str:
    """A section with a heading; nothing without content."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def bullet_list(lines: Sequence[str]) -> str:
    """Lines of plain text as a list."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def breakable(name: str) -> str:
    """A long name, which may be broken after underscores and dots."""
    return escape(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{share:.{1 if share < 0.0995 else 0}%}"
