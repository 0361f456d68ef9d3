"""timm's Vision Transformers, ready to be captured: tokens, preprocessing, attention modules and classes."""

import lazy_loader

DEFAULT_MODEL = "vit_tiny_patch16_224"
"""The model that is used when none is named. Importing this name loads neither timm nor torch."""

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
