"""Data sets: photos of the user's where they are, pictures made by code where not, and how they are split.

`photos` holds the values, `catalogue` what is known of each set, `loading` the way in, `layouts`, `inspection` and
`splits` its steps; `masked` reads photos in which somebody drew where the evidence is, with `annotations` and `boxes`;
`made` and its modules draw the stand-ins.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "loading": ["DATASETS", "load_dataset"],
        "masked": ["load_boxed_folder", "load_masked_folder"],
        "photos": ["Dataset", "DatasetInfo", "FolderPhotos", "PhotoSet"],
    },
)
