"""The offline page: one HTML file that needs neither Python nor a network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
