"""The computer: its graphics cards, cores, memory and disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .check import Check
from .trial import Step

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container how much of the computer it may use."""

LITTLE_MEMORY = 2 * 10**9
"""Bytes in which only small models find room."""

LITTLE_DISK = 10**9


def check_gpus(steps: Mapping[str, Step]) -> Check:
    """The graphics cards that torch can use."""
    step = steps.get("gpu")
    if step is None:
        return Check("GPU", "absent", "not tried, because something before it fails")
    if step.error:
        return Check("GPU", "problem", step.error, "update its driver, or choose --device cpu")
    if step.facts["gpus"]:
        return Check("GPU", "ok", "; ".join(step.facts["gpus"]))
    if shutil.which("nvidia-smi") is None:
        return Check("GPU", "absent", "none, so the CPU is used")
    if steps["torch"].facts["cuda"] is None:
        return Check("GPU", "absent", "not used: this torch is built for CPUs", "install a torch that is built for it")
    return Check("GPU", "absent", "not used: torch finds none", "see whether nvidia-smi finds it; update its driver")


def check_computer() -> Check:
    """Cores and memory that this process may use."""
    memory = _memory()
    found = f"{_cores()} cores, {_gigabytes(memory) if memory else 'unknown'} of memory"
    if memory and memory < LITTLE_MEMORY:
        return Check("computer", "problem", found, "close other programs, or use the embedded model: --model demo")
    return Check("computer", "ok", found)


def check_disk(folder: Path) -> Check:
    """The free space of the disk on which weights are kept.

    Args:
        folder: of the weights; it need not exist.
    """
    place = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(place).free
    found = f"{_gigabytes(free)} free where weights are kept"
    if free < LITTLE_DISK:
        return Check("disk", "problem", found, "make room, or set HF_HOME to a folder on another disk")
    return Check("disk", "ok", found)


def _cores() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    return min(usable, max(1, int(quota) // int(period))) if quota.isdigit() else usable


def _memory() -> int:
    """Bytes of memory; 0 where the system does not tell."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return 0
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _read(CGROUP / "memory.max")
    return min(memory, int(limit)) if limit.isdigit() else memory


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # another system, or no container
        return ""


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
