"""How long a comparison takes to redraw, by what changed since the last time.

    python -m tests.benchmarks.bench_compare

Prints a table of milliseconds (median and 95th percentile). With real ViT-Tiny weights where they are, else with random
ones; panels are layers of one photo at 224 px.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import numpy as np

import vitattn_widgets as va
from vitattn_widgets.capture import cache

from .bench_core import load

ROUNDS = 30


def changes(capture: va.capture.AttentionCapture, panels: list[va.Panel]) -> dict[str, Callable[[], object]]:
    """What is timed, by name; each call is a change that was not there before."""
    queries: Iterator[tuple[int, int]] = ((number // 14 % 14, number % 14) for number in count())
    opacities: Iterator[float] = (0.1 + number % 80 / 100 for number in count())

    def first_time() -> None:
        cache._answers.get(capture, {}).pop("panels", None)
        va.compare_views(panels)

    def one_panel() -> None:
        va.compare_views([*panels[:-1], va.Panel(capture, va.ViewSettings(query=next(queries)))])

    def opacity() -> None:
        share = next(opacities)
        va.compare_views([replace(panel, settings=replace(panel.settings, opacity=share)) for panel in panels])

    def difference() -> None:
        va.difference_view(panels[0], va.Panel(capture, va.ViewSettings(query=next(queries))))

    return {
        "all panels new": first_time,
        "one panel changed": one_panel,
        "opacity of all": opacity,
        "difference, one map new": difference,
    }


def main() -> None:
    """Measure and print."""
    capture = va.capture_attention(load("vit_tiny_patch16_224"), SAMPLES / "chelsea.jpg")
    print("| change | panels | median ms | 95th percentile |\n| --- | ---: | ---: | ---: |")
    for number in (4, 6, 12):
        panels = [va.Panel(capture, va.ViewSettings(layer=layer)) for layer in range(number)]
        for name, change in changes(capture, panels).items():
            change()
            seconds = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                change()
                seconds.append(time.perf_counter() - start)
            tail = np.percentile(seconds, 95)
            print(f"| {name} | {number} | {1000 * statistics.median(seconds):.1f} | {1000 * tail:.1f} |")


if __name__ == "__main__":
    main()
