"""A data set by name: the user's photos where they are, else its stand-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from .catalogue import INFOS
from .made import PER_CLASS, make_dataset
from .photos import Dataset

DATASETS = tuple(INFOS)
"""What `load_dataset` knows; ``"demo"`` is the three stand-ins together, which the embedded model was trained on."""


def load_dataset(
    name: str,
    data: str | Path | None = None,
    seed: int = 0,
    stand_in: bool | None = None,
    per_class: tuple[int, int, int] = PER_CLASS,
    say: Callable[[str], None] = print,
) -> Dataset:
    """Load a data set with its train, validation and test split.

    Looked for in `data`, then in ``$VITATTN_DATA/<name>``. Where neither is given or there, one line says so and the
    stand-in comes: pictures made by code, with masks of the evidence.

    Args:
        name: of `DATASETS`.
        data: folder with the photos.
        seed: of the split, or of the stand-in's pictures.
        stand_in: True takes the stand-in without looking for photos, False never takes it.
        per_class: pictures a class of the stand-in's train, validation and test split.
        say: takes the line that tells of a stand-in, and one line a file that cannot be read.

    Returns:
        The data set. Photos are read when they are asked for.

    Raises:
        DataError: no such data set, `data` does not exist or holds nothing of the kind, a class without photos.
    """
    if name not in INFOS:
        raise DataError(f"there is no data set {name!r}; possible: {', '.join(DATASETS)}")
    if stand_in is None and name != "demo":
        say(f"{INFOS[name].title} is not on this computer; taking its stand-in, pictures made by code")
    return make_dataset(name, seed, per_class)
