"""Photos that visitors upload: the files as they came, in a private folder, for a limited time."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Event, Lock, Thread

import anyio
from PIL import Image

from ..errors import PictureError
from ..images import MAX_PIXELS, read_picture
from .folders import OwnFolder
from .quota import Limits, Quota

KEEP_SECONDS = 3600
"""Seconds that a photo is kept after its last use."""

SWEEP_SECONDS = 30
"""Seconds between two searches for expired photos."""

ARRIVAL_SECONDS = 300
"""Seconds within which a photo must have arrived, so that nobody keeps a file open for ever."""


class RemovedError(PictureError):
    """A photo that is not here, or is no longer: its visitor can send it again."""


class Uploads:
    """Photos by a key that only their visitor and the server know.

    May be shared between threads. A file that is uploaded twice is kept once, under one key.

    Args:
        max_bytes: largest file that is accepted.
        max_pixels: largest picture in pixels that is decoded.
        keep_seconds: how long a photo is kept after its last use.
        on_drop: called with the key of each photo that is removed.
        quota: counts what is kept; None is one of its own.
        parent: see `OwnFolder`.
    """

    def __init__(
        self,
        max_bytes: int,
        max_pixels: int = MAX_PIXELS,
        keep_seconds: float = KEEP_SECONDS,
        on_drop: Callable[[str], None] = lambda _: None,
        quota: Quota | None = None,
        parent: Path | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self.keep_seconds = keep_seconds
        self._on_drop = on_drop
        self.quota = quota or Quota(Limits(), keep_seconds)
        self._folder = OwnFolder("uploads", parent)
        self._secret = secrets.token_bytes(32)  # without it, whoever has a file could find out whether others sent it
        self._used: dict[str, float] = {}
        self._counted: dict[str, tuple[str, int]] = {}  # the address that a photo counts for, and its size
        self._lock = Lock()
        self._stop = Event()
        Thread(target=self._sweep, daemon=True, name="vitattn-uploads").start()

    def __len__(self) -> int:
        return len(self._used)

    def __contains__(self, key: object) -> bool:
        return key in self._used

    async def receive(self, chunks: AsyncIterator[bytes], name: str, address: str = "") -> str:
        """Keep a file as it arrives; of one that does not arrive whole, nothing stays.

        Args:
            chunks: its content.
            name: its name in messages.
            address: where it comes from, for the quota.

        Returns:
            Its key.

        Raises:
            PictureError: larger than `max_bytes`, slower than `ARRIVAL_SECONDS`, or beyond the quota. Whether it is a
                picture is checked by `read`.
        """
        digest, size, counted = hashlib.blake2b(key=self._secret, digest_size=20), 0, 0
        self.quota.add_file(address)
        part = ""
        try:
            handle, part = tempfile.mkstemp(dir=self._folder.path)
            with os.fdopen(handle, "wb") as file, anyio.fail_after(ARRIVAL_SECONDS):
                async for chunk in chunks:
                    size += len(chunk)
                    self._require_size(size, name)
                    self.quota.add_bytes(address, len(chunk))
                    counted = size
                    digest.update(chunk)
                    file.write(chunk)
            key = digest.hexdigest()
            with self._lock:
                os.replace(part, self.path(key))
                self._used[key] = time.monotonic()
                if key not in self._counted:
                    self._counted[key], counted = (address, size), -1
            return key
        except TimeoutError as error:
            raise PictureError(f"{name}: did not arrive within {ARRIVAL_SECONDS} seconds; send it again") from error
        finally:
            if part:
                Path(part).unlink(missing_ok=True)
            if counted >= 0:
                self.quota.remove(address, counted)

    def read(self, key: str, name: str) -> Image.Image:
        """The upright RGB photo of a key.

        Raises:
            RemovedError: already removed.
            PictureError: not a picture, damaged, or too large.
        """
        with self._lock:
            if key not in self._used:
                minutes = self.keep_seconds / 60
                raise RemovedError(f"{name}: was removed {minutes:.0f} minutes after it was last used; upload it again")
            self._used[key] = time.monotonic()
            content = self.path(key).read_bytes()
        return read_picture(content, name, self.max_pixels)

    def read_once(self, path: Path, name: str) -> Image.Image:
        """The upright RGB photo of a file, which is not kept.

        Raises:
            PictureError: empty, too large, not a picture, or damaged.
        """
        self._require_size(path.stat().st_size, name, at_least=1)
        return read_picture(path.read_bytes(), name, self.max_pixels)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self._folder.path / key

    def touch(self, key: str) -> None:
        """Note that a photo is in use although its file is not read."""
        with self._lock:
            if key in self._used:
                self._used[key] = time.monotonic()

    def drop(self, key: str) -> None:
        """Remove a photo."""
        with self._lock:
            if self._used.pop(key, None) is None:
                return
            self.path(key).unlink(missing_ok=True)
            self.quota.remove(*self._counted.pop(key))
        self._on_drop(key)

    def drop_old(self) -> None:
        """Remove the expired photos."""
        oldest = time.monotonic() - self.keep_seconds
        for key in [key for key, used in self._used.copy().items() if used < oldest]:
            self.drop(key)

    def close(self) -> None:
        """Remove every photo and the folder."""
        self._stop.set()
        for key in list(self._used):
            self.drop(key)
        self._folder.close()

    def _require_size(self, size: int, name: str, at_least: int = 0) -> None:
        if size < at_least:
            raise PictureError(f"{name}: the file is empty")
        if size > self.max_bytes:
            limit = self.max_bytes / (1 << 20)
            raise PictureError(f"{name}: at most {limit:.1f} MB are accepted; scale the picture down")

    def _sweep(self) -> None:
        while not self._stop.wait(min(SWEEP_SECONDS, self.keep_seconds)):
            self.drop_old()
