"""The photos that ship with the kit, and what the published ViT-Tiny makes of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "samples"

_SCIKIT_IMAGE = "by way of scikit-image"
_GETTY = "digital image courtesy of the Getty's Open Content Program, by way of stdlib"


@dataclass(frozen=True)
class Sample:
    """A photo that may be used, changed and passed on by anybody.

    Attributes:
        name: its name in menus and links.
        credit: who took it, its licence, and the package that states it.
        note: what is worth seeing in it.
    """

    name: str
    credit: str
    note: str

    @property
    def path(self) -> Path:
        """Its JPEG file."""
        return FOLDER / f"{self.name}.jpg"


SAMPLES = (
    Sample(
        "chelsea",
        f"Stéfan van der Walt, CC0, {_SCIKIT_IMAGE}",
        "A cat. More than half of the last layer's attention goes to four corner patches, not to the cat.",
    ),
    Sample(
        "coffee",
        f"Rachel Michetti, CC0, {_SCIKIT_IMAGE}",
        "An espresso in a cup: choose the two answers in turn and see what each rests on.",
    ),
    Sample(
        "camera",
        f"Lav Varshney, CC0, {_SCIKIT_IMAGE}",
        "A photographer. The answer is tripod, and the map is on its legs.",
    ),
    Sample(
        "astronaut",
        f"NASA, public domain, {_SCIKIT_IMAGE}",
        "The model is wrong: it has no class for astronauts and says bobsled. Ask what it used.",
    ),
    Sample(
        "rocket",
        f"SpaceX, public domain, {_SCIKIT_IMAGE}",
        "The model uses the background: drilling platform, it says, and looks at the masts beside the rocket.",
    ),
    Sample(
        "barn",
        f"Dorothea Lange, CC0, {_GETTY}",
        "An abandoned house on a plain: the answer, barn, rests on its roof.",
    ),
    Sample(
        "boats",
        f"Felice Beato, CC0, {_GETTY}",
        "Boats on a river. The answer is dock: many things of one scene speak for it.",
    ),
)
"""The sample photos, the first one shown first."""
