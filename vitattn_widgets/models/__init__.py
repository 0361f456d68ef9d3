"""A timm Vision Transformer, ready to be watched: its tokens, preprocessing, attention sites and classes."""

import lazy_loader

DEFAULT_MODEL = "vit_tiny_patch16_224"
"""The model that is shown when none is named. Importing it loads neither timm nor torch."""

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
