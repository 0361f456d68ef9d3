"""What is known of each data set: how to get it, what its licence is, whom to cite."""

from __future__ import annotations

from .photos import DatasetInfo

CASSAVA_CLASSES = ("cbb", "cbsd", "cgm", "cmd", "healthy")

INFOS = {
    info.name: info
    for info in (
        DatasetInfo("imagenet", "ImageNet", None, "", "", ""),
        DatasetInfo("fruitsgb", "FruitsGB", None, "", "", ""),
        DatasetInfo("cassava", "Cassava", CASSAVA_CLASSES, "", "", ""),
        DatasetInfo("demo", "Made pictures", None, "", "", ""),
    )
}
