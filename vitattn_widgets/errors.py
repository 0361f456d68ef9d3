"""Errors caused by a user's input, each with one readable message.

Every message says what came, what is possible and what to do next. Front ends show these messages unchanged; any other
exception is a defect of the kit and propagates.
"""


class VitattnError(Exception):
    """Base class of every error that a user's input can cause."""


class PictureError(VitattnError, ValueError):
    """A picture cannot be read: missing, truncated, not a picture, too large, or of an unsupported type."""


class ModelError(VitattnError, ValueError):
    """A model cannot be used: unknown name, no patch-by-patch attention, wrong checkpoint or wrong size."""


class WeightsError(VitattnError, OSError):
    """Weights are unavailable: no network, not in the cache, or no such file."""


class DownloadError(WeightsError):
    """Published weights are not on this computer and cannot be downloaded now.

    Attributes:
        reason: both in words, for the middle of a sentence.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class SettingsError(VitattnError, ValueError):
    """A layer, head, query, aggregation or drawing setting that does not exist for this capture."""


class RecipeError(VitattnError, ValueError):
    """A recipe cannot be used: not a recipe, of another version, or its model or photo has changed."""


class TrainingError(VitattnError, ValueError):
    """A fine-tuning run cannot start or resume because of its recipe, data, folder or disk."""


class SweepError(VitattnError, ValueError):
    """A sweep cannot start or resume because of its folder, options or disk."""


class DataError(VitattnError, ValueError):
    """A data set cannot be used: unknown name, no such folder, another layout, or a class without photos."""
