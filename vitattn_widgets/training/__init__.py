"""Fine-tuning on a data set, the model of a lesson, and the embedded model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
