"""Raw maps become pictures with captions: smoothed, scaled, laid over the photo."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
