from .catalogue import DatasetInfo as DatasetInfo
from .folders import (
    load_boxed_folder as load_boxed_folder,
    load_masked_folder as load_masked_folder,
    load_photo_folder as load_photo_folder,
)
from .loading import DATASETS as DATASETS, load_dataset as load_dataset
from .masks import mask_on_view as mask_on_view, mask_outline as mask_outline
from .photos import Dataset as Dataset, FolderPhotos as FolderPhotos, PhotoSet as PhotoSet
