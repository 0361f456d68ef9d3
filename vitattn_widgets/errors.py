"""What can go wrong through a user's input, each as one readable message.

Every error says what came, what is possible and what to do next. Front ends show these messages as they are; any other
exception is a defect of the kit and propagates.
"""


class VitattnError(Exception):
    """Base of every error that a user's input can cause."""


class PictureError(VitattnError, ValueError):
    """A picture cannot be read: missing, truncated, not a picture, too large, of an unknown type."""


class ModelError(VitattnError, ValueError):
    """A model cannot be used: unknown name, no patch-by-patch attention, wrong checkpoint, wrong size."""


class WeightsError(VitattnError, OSError):
    """Weights cannot be had: no network, not in the cache, no such file."""


class SettingsError(VitattnError, ValueError):
    """A layer, head, query, aggregation or drawing setting that does not exist for this capture."""


class RecipeError(VitattnError, ValueError):
    """A recipe cannot be followed: not a recipe, or its model or photo is another one now."""


class TrainingError(VitattnError, ValueError):
    """A fine-tuning cannot start or go on: its recipe, its data, its folder or its disk does not allow it."""


class SweepError(VitattnError, ValueError):
    """A sweep cannot start or go on: its folder, its options or its disk do not allow it."""


class DataError(VitattnError, ValueError):
    """A data set cannot be used: unknown name, no such folder, nothing of its kind in it, a class without photos."""
