"""What is known of each data set: how to get it, its licence, what to cite, and which folders are recognised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set is and where it comes from.

    Attributes:
        name: what `load_dataset` calls it.
        title: its name in figures and messages.
        class_names: its classes, or None where they follow from the folder.
        how_to_get: how to get it onto this computer.
        licence: what may be done with it, as far as is known.
        citation: what to cite.
    """

    name: str
    title: str
    class_names: tuple[str, ...] | None
    how_to_get: str
    licence: str
    citation: str


IMAGENET = DatasetInfo(
    name="imagenet",
    title="ImageNet",
    class_names=None,
    how_to_get=(
        "The ten classes of Imagenette need no login: load_dataset('imagenet', data=FOLDER, download=True), which is "
        "torchvision.datasets.Imagenette(FOLDER, size='320px', download=True). All of ImageNet: https://image-net.org, "
        "after requesting access. Recognised are folders named by WordNet ids (n01440764/...), with or without train "
        "and val above them, and flat files whose names start with an id (n02123045_tabby.JPEG)."
    ),
    licence=(
        "ImageNet: for non-commercial research and education, under its terms of access; the photos belong to their "
        "photographers. Imagenette's repository is under Apache 2.0; its photos are ImageNet's."
    ),
    citation=(
        "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115, 2015, "
        "doi:10.1007/s11263-015-0816-y; Howard, Imagenette, 2019, https://github.com/fastai/imagenette"
    ),
)

FRUITSGB = DatasetInfo(
    name="fruitsgb",
    title="FruitsGB",
    class_names=None,
    how_to_get=(
        "https://ieee-dataport.org/open-access/fruitsgb-top-indian-fruits-quality (IEEE DataPort asks for an account). "
        "Recognised are folders that name a quality and a fruit, in any usual spelling: Good_Apple, apple-bad, 'Bad "
        "Quality' with Apple inside, Apple with Good inside, freshapples, rottenapples; other sets of good and bad "
        "fruits work as well."
    ),
    licence="Listed as open access on IEEE DataPort; its page states the terms of use.",
    citation=(
        "Meshram, Thanomliang, Ruangkan, Chumchu, Patil, FruitsGB: Top Indian Fruits with quality, IEEE DataPort, "
        "2020, doi:10.21227/gzkn-f379"
    ),
)

CASSAVA_CLASSES = ("cbb", "cbsd", "cgm", "cmd", "healthy")

CASSAVA = DatasetInfo(
    name="cassava",
    title="Cassava",
    class_names=CASSAVA_CLASSES,
    how_to_get=(
        "https://www.kaggle.com/c/cassava-disease (9,436 labelled photos), or "
        "https://www.kaggle.com/c/cassava-leaf-disease-classification (21,397 photos), each after accepting the rules. "
        "Recognised are the folders cbb, cbsd, cgm, cmd and healthy, with or without train above them, and "
        "train_images with train.csv."
    ),
    licence="Stated in the rules of each Kaggle competition.",
    citation=(
        "Mwebaze, Gebru, Frome, Nsumba, Tusubira, iCassava 2019 Fine-Grained Visual Categorization Challenge, 2019, "
        "arXiv:1908.02900"
    ),
)

DEMO = DatasetInfo(
    name="demo",
    title="Made pictures",
    class_names=None,
    how_to_get="Nothing to get: vitattn_widgets draws them. They are the three stand-ins together.",
    licence="MIT, like vitattn_widgets.",
    citation="vitattn_widgets",
)

INFOS = {info.name: info for info in (IMAGENET, FRUITSGB, CASSAVA, DEMO)}
