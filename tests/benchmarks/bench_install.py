"""What an installation takes on the disk: all of it, torch's part, and what leaving a requirement out would save.

    python -m tests.benchmarks.bench_install

Sizes are those of the files in pip's record of the running environment, compiled modules included, in MB of 10^6 bytes.
"""

import re
from importlib import metadata

from packaging.requirements import Requirement

PACKAGE = "vitattn_widgets"

GROUPS = {
    "page": ("gradio", "segno"),
    "notebook": ("anywidget", "ipywidgets", "traitlets"),
    "train": ("accelerate", "pandas", "pyarrow"),
}
"""Extras that could be: each with the requirements that only its part of the kit imports."""


def key(name):
    return re.sub(r"[-_.]+", "-", name).lower()


INSTALLED = {key(one.metadata["Name"]): one for one in metadata.distributions()}


def needed(name, extras=()):
    """The requirements of an installed distribution that count here."""
    requirements = [Requirement(line) for line in INSTALLED[name].requires or ()]
    environments = [{"extra": extra} for extra in (*extras, "")]
    return [one for one in requirements if not one.marker or any(map(one.marker.evaluate, environments))]


def everything(requirements):
    """The names of all distributions that requirements bring."""
    found, waiting = set(), [(key(one.name), tuple(sorted(one.extras))) for one in requirements]
    while waiting:
        this = waiting.pop()
        if this not in found and this[0] in INSTALLED:
            found.add(this)
            waiting += [(key(one.name), tuple(sorted(one.extras))) for one in needed(*this)]
    return {name for name, _ in found}


def size(names):
    places = (file.locate() for name in names for file in INSTALLED[name].files or ())
    return sum(place.stat().st_size for place in places if place.is_file()) / 1e6


def main():
    """Print the table."""
    own = needed(key(PACKAGE))
    whole = everything(own)
    torch = everything([one for one in own if one.name in ("torch", "torchvision")])
    cuda = {name for name in torch if name.startswith(("nvidia-", "cuda-", "triton"))}
    print(f"{size(whole):8.0f} MB  all {len(whole)} distributions")
    print(f"{size(torch):8.0f} MB  torch, torchvision and what they bring: torch {metadata.version('torch')}")
    print(f"{size(cuda):8.0f} MB  of these, CUDA")
    print(f"{size(whole - torch):8.0f} MB  besides")
    for name, group in GROUPS.items():
        saved = whole - everything([one for one in own if one.name not in group])
        print(f"{size(saved):8.0f} MB  saved without {name}: {', '.join(group)}")
    grouped = {one for group in GROUPS.values() for one in group}
    saved = whole - everything([one for one in own if one.name not in grouped])
    print(f"{size(saved):8.0f} MB  saved without all three")


if __name__ == "__main__":
    main()
