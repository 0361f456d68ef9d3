"""What long runs share: a folder that is one run's own and can be written to, and processes that load photos."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from .errors import SettingsError, VitattnError
from .files import write_file


def is_main_process() -> bool:
    """Whether this is the process that speaks, among those that `accelerate launch` started."""
    return int(os.environ.get("RANK", "0")) == 0


def prepare_folder(path: Path, error: type[VitattnError]) -> None:
    """Make a folder and find out before any work that files can be written there.

    Args:
        path: the folder.
        error: what is raised where it cannot be made or written to, or is no folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise error(
            f"{path}: the folder cannot be made ({reason.strerror}); choose another one for the run"
        ) from reason
    probe = path / f".probe{os.getpid()}"
    try:
        write_file(probe, b"x" * 4096)
    except SettingsError as reason:
        raise error(
            f"{path}: cannot be written to ({reason.__cause__.strerror}); choose another folder for the run"
        ) from reason
    finally:
        probe.unlink(missing_ok=True)


def lock_folder(path: Path, error: type[VitattnError]) -> filelock.FileLock:
    """Keep a second run out of a folder; the system frees the lock when a process is killed.

    Args:
        path: the folder.
        error: what is raised where another run is working in it.

    Returns:
        The lock, held; leaving it as a context frees it.
    """
    lock = filelock.FileLock(path / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as reason:
        raise error(f"{path}: another run is working in this folder; wait, or choose another") from reason
    return lock


def require_same(there: Mapping[str, Any], now: Mapping[str, Any], path: Path, error: type[VitattnError]) -> None:
    """Raise where a folder holds another run, and say in what it differs.

    Args:
        there: what the run in the folder is, as JSON takes it.
        now: what the run that would go on is.
        path: the folder.
        error: what is raised, with one part a difference.
    """
    old, new = _flat(there), _flat(now)
    differences = [
        f"{name}: {_short(old.get(name))} there, {_short(new.get(name))} now"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise error(
            f"{path} holds another run, which cannot go on as this one; choose another folder or remove it. "
            f"They differ in {'; '.join(differences)}"
        )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested groups as one level, in JSON's own types."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(values)).items():
        flat |= {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def loading_processes(asked: int | None, processes: int, error: type[VitattnError]) -> int:
    """How many processes load photos for each one that computes.

    Args:
        asked: so many; None is 8, or one fewer than there are cores for each.
        processes: those that compute.
        error: what is raised for fewer than none.
    """
    if asked is None:
        return max(0, min(8, (os.cpu_count() or 1) // processes - 1))
    if asked < 0:
        raise error(f"workers must be at least 0, got {asked}")
    return asked
