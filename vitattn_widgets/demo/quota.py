"""How much visitors may leave on the disk, all together and from one address."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import Lock

from ..errors import PictureError


@dataclass(frozen=True)
class Limits:
    """Limits on what is kept at one time. A school is often a single address.

    Attributes:
        total: bytes of all visitors.
        address: bytes from one address.
        files: files from one address, those that are still arriving included.
    """

    total: int = 4 << 30
    address: int = 2 << 30
    files: int = 1000


class Quota:
    """Counts what is kept. May be shared between threads."""

    def __init__(self, limits: Limits, keep_seconds: float) -> None:
        self.limits = limits
        self._minutes = max(1, round(keep_seconds / 60))
        self._bytes: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._bytes.total()

    def add_file(self, address: str) -> None:
        """Count a file that begins to arrive.

        Raises:
            PictureError: there are too many of this address.
        """
        with self._lock:
            if self._files[address] >= self.limits.files:
                raise PictureError(
                    f"{self.limits.files} photos from your address are here already, which is the limit; each is "
                    f"removed {self._minutes} minutes after its last use"
                )
            self._files[address] += 1

    def add_bytes(self, address: str, size: int) -> None:
        """Count what has arrived of a file.

        Raises:
            PictureError: there is no more room; nothing was counted.
        """
        with self._lock:
            if self._bytes[address] + size > self.limits.address or self.nbytes + size > self.limits.total:
                raise PictureError(
                    "there is no more room for photos on this page; each is removed "
                    f"{self._minutes} minutes after its last use, so try again later"
                )
            self._bytes[address] += size

    def remove(self, address: str, size: int) -> None:
        """Count a file no more."""
        with self._lock:
            for counter, change in ((self._bytes, size), (self._files, 1)):
                counter[address] -= change
                if counter[address] <= 0:
                    del counter[address]
