"""Getting a class onto the page: its address on this network, a QR code, and a page for the projector."""

from __future__ import annotations

import html
import io
import socket
import time
from urllib.parse import urlsplit, urlunsplit

HERE_SECONDS = 60
"""Seconds after its last sign of life that a window counts as in."""

MAX_WINDOWS = 10_000
"""Windows that are counted."""


class Attendance:
    """Which windows have the page open. They tell so every `HERE_SECONDS` / 3."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def note(self, window: str) -> None:
        """Note a sign of life."""
        if window in self._seen or len(self._seen) < MAX_WINDOWS:
            self._seen[window] = time.monotonic()

    def count(self) -> int:
        """How many are in."""
        oldest = time.monotonic() - HERE_SECONDS
        for window in [window for window, seen in list(self._seen.items()) if seen < oldest]:
            self._seen.pop(window, None)
        return len(self._seen)


def reachable(address: str) -> str:
    """An address of this computer as others on its network reach it; others than "all addresses" stay as they are."""
    parts = urlsplit(address)
    if parts.hostname not in ("0.0.0.0", "::", "localhost"):
        return address
    return urlunsplit(parts._replace(netloc=f"{_own_address()}:{parts.port}"))


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing, only selects the address that would be used
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def terminal_code(address: str) -> str:
    """The QR code of an address, as lines for a terminal."""
    import segno

    lines = io.StringIO()
    segno.make(address, micro=False).terminal(lines, compact=True)
    return lines.getvalue()


def projector_page(address: str) -> str:
    """The page for the projector, as HTML: the address, its QR code, and how many are in."""
    import segno

    code = segno.make(address, micro=False).svg_inline(scale=1, omitsize=True)
    return _PROJECTOR % {"link": html.escape(address), "code": code}


_PROJECTOR = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Join</title><style>
body { margin: 0; height: 100vh; display: grid; place-content: center; justify-items: center; gap: 3vh;
  font: 3vh system-ui, sans-serif; background: #fff; color: #111; }
svg { width: 60vh; height: 60vh; }
.link { font-size: 5vh; overflow-wrap: anywhere; text-align: center; }
</style></head><body>
<div class="link">%(link)s</div>
%(code)s
<div aria-live="polite"><span id="count">0</span> in</div>
<script>
const show = async () => {
  const answer = await fetch("count").catch(() => null);
  if (answer?.ok) document.getElementById("count").textContent = String((await answer.json()).count);
};
show();
setInterval(show, 3000);
</script>
</body></html>
"""
