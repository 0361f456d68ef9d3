"""How many points the curves of a check need: do fewer judge a map as 24 do?

    python -m tests.benchmarks.bench_checks FOLDER

For photos spread over a folder and six maps of each, deletion and insertion are compared with each of the three
baselines by curves of 24 points, and by every second, third, fourth and sixth of the same points.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.conftest import SAMPLES  # noqa: F401 sets the offline cache before timm is imported

# isort: split
import numpy as np

import vitattn_widgets as va
from vitattn_widgets.evaluation import checks, findings, perturbation

FINEST = 24

MAPS = (("attention", 5), ("attention", 8), ("attention", 11), ("norm", 11), ("gradient_late", 11), ("relevance", 11))


def judged(check: va.evaluation.MapCheck, steps: int) -> tuple[list[int], str, float]:
    """The outcomes of both tests, the verdict, and the mean width of the random orders' intervals."""
    every, outcomes, widths = FINEST // steps, [], []
    tests = ((check.deletion, check.random_deletion, -1), (check.insertion, check.random_insertion, 1))
    for curves, random, sign in tests:
        areas = {order: perturbation.area(curve[::every]) for order, curve in curves.items()}
        gains = {order: sign * (areas["map"] - areas[order]) for order in perturbation.BASELINE_ORDERS}
        of_random = [perturbation.area(curve[::every]) for curve in random]
        interval = min(of_random), max(of_random)
        outcomes.append(findings.outcomes(gains, areas["map"], interval))
        widths.append(interval[1] - interval[0])
    verdict = findings.verdict_words(*outcomes, similarity=np.nan)
    return [result for one in outcomes for result in one.values()], verdict, float(np.mean(widths))


def main() -> None:
    """Check the maps of the photos and print how often fewer points agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=10)
    options = parser.parse_args()
    checks.STEPS = FINEST
    model = va.load_model("vit_tiny_patch16_224")
    paths = sorted(options.folder.rglob("*.[jJ][pP]*[gG]"))
    found: dict[int, list[tuple[list[int], str, float]]] = {steps: [] for steps in (24, 12, 8, 6, 4)}
    for place in np.linspace(0, len(paths) - 1, min(options.photos, len(paths))).astype(int):
        capture = va.capture_attention(model, paths[place])
        for source, layer in MAPS:
            check = va.check_map(model, capture, va.ViewSettings(source=source, layer=layer))
            for steps, results in found.items():
                results.append(judged(check, steps))
    for steps, results in found.items():
        pairs = list(zip(results, found[FINEST], strict=True))
        same = np.mean([np.equal(one[0], fine[0]) for one, fine in pairs])
        verdicts = np.mean([one[1] == fine[1] for one, fine in pairs])
        width = np.mean([one[2] for one in results])
        print(f"{steps:2} points: {same:.1%} of the comparisons, {verdicts:.1%} of {len(pairs)} verdicts, "
              f"interval {width:.3f} wide")  # fmt: skip


if __name__ == "__main__":
    main()
