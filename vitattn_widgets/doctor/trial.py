"""Importing torch and drawing a map, in a process of its own that may fail, crash or hang."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vitattn_widgets.doctor.trial import main; main()"
)
"""With this process's own search path, or the child might import another copy of the package."""


@dataclass(frozen=True)
class Step:
    """What came of one step.

    Attributes:
        error: why it failed, in one line; empty if it worked.
        seconds: how long it took.
        facts: what it found out, as JSON values.
    """

    error: str
    seconds: float
    facts: Mapping[str, Any]


class Trial:
    """A trial that runs beside this process until its outcome is asked for."""

    def __init__(self, timeout: float) -> None:
        """Start it.

        Args:
            timeout: seconds after which it counts as hanging.
        """
        self._timeout = timeout
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, json.dumps(sys.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def outcome(self) -> dict[str, Step]:
        """Wait for the end: each step of `STEPS` that was tried, by name. Steps after a failure may be missing."""
        try:
            printed, errors = self._process.communicate(timeout=self._timeout)
            ending = _ending(self._process.returncode, errors)
        except subprocess.TimeoutExpired:
            self._process.kill()
            printed, _ = self._process.communicate()
            ending = f"no end after {self._timeout:g} s"
        except BaseException:  # Ctrl-C must not leave it behind
            self._process.kill()
            self._process.wait()
            raise
        steps: dict[str, Step] = {}
        for line in printed.splitlines():
            if line.startswith("{"):
                outcome = json.loads(line)
                name = outcome.pop("step")
                steps[name] = Step(**outcome)
        if ending and len(steps) < len(STEPS):
            steps[STEPS[len(steps)]] = Step(ending, 0.0, {})
        return steps


def _ending(status: int, errors: str) -> str:
    """How a process ended that could not say so itself; empty if it ended well."""
    if status < 0:
        return f"the process was ended by {signal.Signals(-status).name}"
    lines = errors.strip().splitlines() or [f"the process ended with status {status}"]
    return lines[-1] if status else ""


def main() -> None:
    """What the child does: each step, and one JSON line about it."""
    report, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed must not stand between the lines
    for name, step in STEP_FUNCTIONS.items():
        started = time.perf_counter()
        error, facts = "", {}
        try:
            facts = step()
        except Exception as reason:  # whatever it is, it is what the report is for
            lines = str(reason).strip().splitlines()
            error = f"{type(reason).__name__}: {lines[0]}" if lines else type(reason).__name__
        seconds = time.perf_counter() - started
        print(json.dumps({"step": name, "error": error, "seconds": seconds, "facts": facts}), file=report, flush=True)
        if error and name != "gpu":  # everything else builds on what stands before it
            break


def _import_torch() -> dict[str, Any]:
    import torch

    return {"version": torch.__version__, "cuda": torch.version.cuda}


def _import_torchvision() -> dict[str, Any]:
    import torchvision

    return {"version": torchvision.__version__}


def _import_timm() -> dict[str, Any]:
    import timm

    return {"version": timm.__version__}


def _find_gpus() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {"gpus": []}
    all_properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return {"gpus": [f"{one.name}, {one.total_memory / 1e9:.0f} GB" for one in all_properties]}


def _draw_map() -> dict[str, Any]:
    from ..capture.forward import capture_attention
    from ..datasets.samples import SAMPLES
    from ..models.loading import load_model
    from ..view.render import render_view

    model = load_model("demo")
    sample = SAMPLES[0]
    started = time.perf_counter()
    capture = capture_attention(model, sample.path)
    seconds = time.perf_counter() - started
    render_view(capture)
    answer, probability = capture.top(1)[0]
    return {
        "sample": sample.name,
        "answer": answer,
        "probability": probability,
        "device": str(model.device),
        "capture_seconds": seconds,
    }


STEP_FUNCTIONS = {
    "torch": _import_torch,
    "torchvision": _import_torchvision,
    "timm": _import_timm,
    "gpu": _find_gpus,
    "map": _draw_map,
}

STEPS = tuple(STEP_FUNCTIONS)
"""What is tried, in this order."""
