"""Raw maps of a capture, one value per patch: sources, aggregation over heads, sinks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
