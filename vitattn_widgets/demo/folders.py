"""Folders for what visitors bring: private, and swept by the next process if this one is killed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import SettingsError

PREFIX = "vitattn-"

_MADE = re.compile(rf"{PREFIX}[a-z]+-[0-9a-f]{{16}}")
"""The names of the folders that `OwnFolder` makes; people may have folders that begin alike."""


class OwnFolder:
    """A temporary folder that only this user can read; at its making, those of dead processes are removed.

    Args:
        purpose: part of its name.
        parent: where it is made; None is the system's folder for temporary files.

    Attributes:
        path: the folder.

    Raises:
        SettingsError: the system's folder for temporary files cannot be written.
    """

    def __init__(self, purpose: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        sweep_dead(parent)
        self.path = parent / f"{PREFIX}{purpose}-{secrets.token_hex(8)}"
        # locked before the folder exists, for a folder without a locked file beside it is that of a dead process
        self._lock = _lock_of(self.path)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise SettingsError(
                f"{self.path.parent}: cannot be written ({error.strerror}); set TMPDIR to a folder for temporary files"
            ) from error

    def close(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        _unlock(self._lock)


def sweep_dead(parent: Path) -> None:
    """Remove the folders that killed processes of this user left in a folder."""
    for path in parent.glob(f"{PREFIX}*-*"):
        made = _MADE.fullmatch(path.name) and Path(f"{path}.lock").is_file()
        if not made or not path.is_dir() or path.is_symlink() or not _is_own(path):
            continue
        lock = _lock_of(path)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # its process lives
        shutil.rmtree(path, ignore_errors=True)
        _unlock(lock)


def drop_older(parent: Path, seconds: float) -> None:
    """Remove the files of a folder, at any depth, that were last changed before so many seconds."""
    oldest = time.time() - seconds
    for folder, _, names in os.walk(parent, topdown=False):
        for name in names:
            path = Path(folder, name)
            try:
                if path.lstat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:  # somebody else was faster
                continue


def _lock_of(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", mode=0o600, thread_local=False)


def _unlock(lock: FileLock) -> None:
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
