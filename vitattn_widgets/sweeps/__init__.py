"""The maps of a whole data set: measured in a run that can be stopped and resumed, with a report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
