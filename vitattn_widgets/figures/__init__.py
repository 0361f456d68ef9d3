"""Matplotlib figures: those of the paper and of the lessons, comparisons and checks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
