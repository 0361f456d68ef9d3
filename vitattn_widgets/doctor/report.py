"""The report: all checks, as a screen of text or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .check import Check
from .machine import check_computer, check_disk, check_gpus
from .places import check_data_sets, check_hub, check_weights, weights_folder
from .software import check_front_ends, check_imports, check_kit, check_python, check_requirements
from .trial import Step, Trial

TRIAL_SECONDS = 120.0
"""After which importing torch and drawing a map counts as hanging; on two cores it takes 5 to 10 s."""

WIDTH = 80

MARKS = {"ok": "ok", "absent": "-", "problem": "!!"}

LONGEST = 2
"""Lines for one text."""


@dataclass(frozen=True)
class Report:
    """Everything that was found out.

    Attributes:
        checks: one per thing, in the order of the screen.
        draws_maps: whether a map was drawn.
    """

    checks: tuple[Check, ...]
    draws_maps: bool

    def json_text(self) -> str:
        """As JSON: ``draws_maps``, and the fields of each check in full."""
        return json.dumps(asdict(self), indent=2)

    def screen(self) -> str:
        """As text of at most `WIDTH` columns; what does not fit into two lines is cut off."""
        column = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            start = f"{MARKS[check.status]:>2}  {check.name:<{column}}  "
            lines += _wrapped(start, _at_home(check.found))
            if check.advice:
                lines += _wrapped(" " * (len(start) - 3) + "-> ", check.advice)
        problems = [check.name for check in self.checks if check.status == "problem"]
        ending = f"The kit {'draws' if self.draws_maps else 'cannot draw'} maps here."
        if problems:
            ending += f" To look at: {', '.join(problems)}."
        return "\n".join([*lines, "", *textwrap.wrap(ending, WIDTH)])


def _wrapped(start: str, text: str) -> list[str]:
    """A text after its start, in lines of the same width."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), max_lines=LONGEST, placeholder=" ..."
    )


def _at_home(text: str) -> str:
    """A text with the home folder written as ``~``."""
    home = str(Path.home())
    return text.replace(f"{home}/", "~/") if len(home) > 1 else text


def examine() -> Report:
    """Look at everything; this takes as long as the first map after a start of Python."""
    trial = Trial(TRIAL_SECONDS)
    folder = weights_folder()
    hub = check_hub()
    steps = trial.outcome()
    checks = [
        check_kit(),
        check_python(),
        check_requirements(),
        *check_imports(steps),
        *check_front_ends(),
        check_gpus(steps),
        check_computer(),
        check_disk(folder),
        hub,
        check_weights(folder, hub),
        check_data_sets(),
        check_map(steps),
    ]
    return Report(tuple(checks), draws_maps="map" in steps and not steps["map"].error)


def check_map(steps: Mapping[str, Step]) -> Check:
    """The embedded model on a sample: what it answered, and how long it took."""
    name, step = "a map", steps.get("map")
    if step is None:
        return Check(name, "problem", "not tried, because something before it fails", "follow the first advice above")
    if step.error:
        return Check(name, "problem", f"the embedded model fails: {step.error}", "reinstall the kit and timm")
    facts = step.facts
    seconds = sum(one.seconds for one in steps.values())
    return Check(
        name,
        "ok",
        f"drawn on the {facts['device']} by the embedded model: {facts['sample']} is a {facts['answer']}, "
        f"{facts['probability']:.0%}; {seconds:.1f} s, {facts['capture_seconds']:.2f} s of it the forward pass",
    )
