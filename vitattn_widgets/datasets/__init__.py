"""Data sets: photos of the user's where they are, pictures made by code where not, and how they are split.

`photos` holds the values, `catalogue` what is known of each set, `loading` the way in, `layouts`, `inspection` and
`splits` its steps; `masked` reads photos in which somebody drew where the evidence is, with `annotations` and `boxes`;
`made` and its modules draw the stand-ins.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
