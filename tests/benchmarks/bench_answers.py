"""What the answers after every layer and the parts of all heads cost.

    python -m tests.benchmarks.bench_answers
    python -m tests.benchmarks.bench_answers vit_base_patch16_224

Weights are the published ones where they are in the cache, else random ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import vitattn_widgets as va
from tests.benchmarks.bench_export import load

ROUNDS = 15


def interleaved(works: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print the median time of each work; they take turns, so that a busy machine slows them all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(1000 * (time.perf_counter() - start))
    for name, taken in times.items():
        print(f"  {name}: {statistics.median(taken):.0f} ms (fastest {min(taken):.0f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="vit_tiny_patch16_224")
    model, weights = load(parser.parse_args().model)
    photo = va.load_picture(SAMPLES / "chelsea.jpg")
    capture = va.capture_attention(model, photo)
    print(f"{model.name} ({weights} weights)")
    interleaved(
        {
            "capture": lambda: va.capture_attention(model, photo),
            "capture with answers": lambda: va.capture_attention(model, photo, answers=True),
            "direct parts": lambda: va.capture.capture_head_contributions(model, capture),
        },
        ROUNDS,
    )
    # a capture of its own each time, as the result is kept beside it
    captures = iter([va.capture_attention(model, photo) for _ in range(3)])
    interleaved({"every head silenced": lambda: va.evaluation.silence_every_head(model, next(captures))}, 3)


if __name__ == "__main__":
    main()
