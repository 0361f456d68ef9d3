"""Which pages may show the page in a frame: its own, and those that the operator or the place of the server names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import SettingsError

SPACE_HOST = "https://huggingface.co"
"""Shows every Space in a frame."""

NOTEBOOK_HOSTS = ("http://localhost:*", "http://127.0.0.1:*", "vscode-webview:")
"""Where a notebook of this computer is shown."""

_ORIGIN = re.compile(
    r"https?://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:(\d{1,5}|\*))?|https?://\[[0-9A-Fa-f:]+\](:\d{1,5})?"
)


def require_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Origins as browsers compare them.

    Raises:
        SettingsError: one is no origin, such as an address with a path.
    """
    found = tuple(origin.removesuffix("/") for origin in origins)
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"{origin[:100]!r} is no origin that could show the page in a frame; write scheme, host and, where it "
                "is not the usual one, port, such as https://huggingface.co"
            )
    return found


def origins_of_place(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Who shows whatever runs here in a frame: Hugging Face around a Space, a notebook around its cells' results."""
    if environment.get("SPACE_ID"):
        return (SPACE_HOST,)
    return NOTEBOOK_HOSTS if in_notebook() else ()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. An IPython in a terminal is none."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
