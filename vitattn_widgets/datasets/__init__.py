"""Data sets: your photos if they are there, else pictures drawn by code, and how they are split.

`photos` holds the values and `catalogue` what is known of each set; `loading` is the way in, with `layouts`,
`inspection` and `splits` as its steps. `folders` reads any folder of photos, also where `masks` or boxes
(`annotations`) mark the evidence. `made` draws the stand-ins.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
