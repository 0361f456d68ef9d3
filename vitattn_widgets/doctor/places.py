"""Where weights and photos come from: the hub, the cache, the folders of the data sets."""

from __future__ import annotations

import os
from pathlib import Path

from ..datasets.catalogue import INFOS
from ..datasets.loading import FOLDER_VARIABLE
from ..models import DEFAULT_MODEL
from .check import Check

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

HUB_SECONDS = 2.0


def check_hub() -> Check:
    """Whether the model hub answers, after one short try."""
    try:
        from ..models.hub import hub_problem
    except ImportError as error:
        return Check("hub", "problem", f"cannot be tried: {error}", "pip install huggingface_hub")
    reason = hub_problem(HUB_SECONDS)
    if not reason:
        return Check("hub", "ok", "it answers, so weights can be downloaded")
    return Check("hub", "absent", reason, "check the network, the proxy and the variables HF_*")


def weights_folder() -> Path:
    """The folder in which huggingface_hub keeps weights; it need not exist."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return Path.home() / ".cache" / "huggingface" / "hub"
    return Path(HF_HUB_CACHE).expanduser()


def check_weights(folder: Path, hub: Check) -> Check:
    """Which of timm's weights are in a folder of huggingface_hub's, and whether the default model's are.

    Args:
        folder: see `weights_folder`.
        hub: what `check_hub` found.
    """
    names = sorted(
        repository.name.removeprefix("models--timm--")
        for repository in folder.glob("models--timm--*")
        if any(next(repository.glob(f"snapshots/*/{file}"), None) for file in WEIGHT_FILES)
    )
    if any(name.partition(".")[0] == DEFAULT_MODEL for name in names):
        others = [name for name in names if name.partition(".")[0] != DEFAULT_MODEL]
        found = f"{DEFAULT_MODEL}, the default" + (f"; also {', '.join(others)}" if others else "")
        return Check("weights", "ok", f"{found}; in {folder}")
    found = f"the default model's are not in {folder}" + (f", but {', '.join(names)}" if names else "")
    if hub.status == "ok":
        return Check("weights", "absent", found, "nothing: their first use downloads them (23 MB)")
    return Check("weights", "absent", found, "the embedded model takes its place; or copy that folder from elsewhere")


def check_data_sets() -> Check:
    """Which of the data sets are where the kit looks."""
    name, home = "data sets", os.environ.get(FOLDER_VARIABLE)
    known = [info for info in INFOS if info != "demo"]
    if not home:
        advice = f"set {FOLDER_VARIABLE} to a folder that has {', '.join(known[:-1])} or {known[-1]} in it"
        return Check(name, "absent", f"{FOLDER_VARIABLE} is not set; drawn pictures stand in", advice)
    folder = Path(home).expanduser()
    there = [info for info in known if (folder / info).is_dir()]
    missing = [info for info in known if info not in there]
    if not missing:
        return Check(name, "ok", f"{', '.join(there)} in {folder}")
    found = f"{', '.join(there) or 'none'} in {folder}; drawn pictures stand in for {', '.join(missing)}"
    return Check(name, "absent", found, "put photos there, into a folder of the data set's name")
