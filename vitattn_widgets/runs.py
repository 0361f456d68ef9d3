"""What long runs share: a writable folder that belongs to one run, and the number of photo-loading processes."""

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
    """Whether this process reports progress: of those that `accelerate launch` started, only the first does."""
    return int(os.environ.get("RANK", "0")) == 0


def prepare_folder(path: Path, error: type[VitattnError]) -> None:
    """Create a folder and check, before any work, that files can be written there.

    Args:
        path: the folder.
        error: raised if the path cannot be created or written to, or is not a folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise error(
            f"{path}: the folder cannot be created ({reason.strerror}); choose another one for the run"
        ) from reason
    probe = path / f".probe{os.getpid()}"
    try:
        write_file(probe, b"x" * 4096)
    except SettingsError as reason:
        cause = reason.__cause__.strerror if isinstance(reason.__cause__, OSError) else reason
        raise error(f"{path}: cannot be written to ({cause}); choose another folder for the run") from reason
    finally:
        probe.unlink(missing_ok=True)


def lock_folder(path: Path, error: type[VitattnError]) -> filelock.FileLock:
    """Keep a second run out of a folder; the system releases the lock when the process is killed.

    Args:
        path: the folder.
        error: raised if another run is working in the folder.

    Returns:
        The acquired lock; as a context manager, it is released on exit.
    """
    lock = filelock.FileLock(path / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as reason:
        raise error(f"{path}: another run is working in this folder; wait for it, or choose another folder") from reason
    return lock


def require_same(there: Mapping[str, Any], now: Mapping[str, Any], path: Path, error: type[VitattnError]) -> None:
    """Raise if a folder holds a different run, and list the differences.

    Args:
        there: what identifies the run in the folder, as JSON values.
        now: the same of the run that would resume.
        path: the folder.
        error: raised with one clause per difference.
    """
    old, new = _flat(there), _flat(now)
    differences = [
        f"{name}: {_short(old.get(name))} there, {_short(new.get(name))} now"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise error(
            f"{path} holds another run, which cannot resume as this one; choose another folder or remove it. "
            f"They differ in {'; '.join(differences)}"
        )


def without_format(content: object, path: Path, known: int, refusal: type[VitattnError]) -> dict[str, Any]:
    """The content of a run's JSON file without its format number, if this version reads that format.

    Args:
        content: what the file holds; without ``"format"`` it is of format 1.
        path: the file, for the message.
        known: the format that this version reads.
        refusal: the error to raise for another format.

    Raises:
        refusal: another format.
        TypeError: not a JSON object, or a format that is not a number.
    """
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    number = content.get("format", 1)
    if not isinstance(number, int):
        raise TypeError(f"format {number!r} is not a number")
    if number != known:
        age, remedy = ("a newer", "update vitattn_widgets") if number > known else ("an older", "remove the folder")
        raise refusal(
            f"{path}: has format {number}, of {age} version of vitattn_widgets; this version reads format {known}; "
            f"{remedy} or choose another folder"
        )
    return {name: value for name, value in content.items() if name != "format"}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten one level of nesting; values take JSON's own types, so that tuples equal the lists read from a file."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(values)).items():
        flat |= {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def loading_processes(workers: int | None, processes: int, error: type[VitattnError]) -> int:
    """The number of processes that load photos for each computing process.

    Args:
        workers: the number wanted; None is 8, or one fewer than the cores per computing process.
        processes: number of computing processes.
        error: raised for a negative number.
    """
    if workers is None:
        return max(0, min(8, (os.cpu_count() or 1) // processes - 1))
    if workers < 0:
        raise error(f"workers must be at least 0, got {workers}")
    return workers
