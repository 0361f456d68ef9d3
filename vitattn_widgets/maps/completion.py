"""What a source needs beyond the forward pass, added to a capture only when that source is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..capture.backward import capture_gradients
from ..capture.conservative import capture_contributions
from ..capture.value_norms import capture_value_norms
from .resolve import require_source
from .settings import MapSettings

if TYPE_CHECKING:
    from ..capture.capture import AttentionCapture
    from ..models.loading import AttentionModel


def complete_capture(model: AttentionModel, capture: AttentionCapture, settings: MapSettings) -> AttentionCapture:
    """Add to a capture what the settings' source needs beyond the forward pass.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        settings: what to show.

    Returns:
        The same capture with value norms, or with the gradients of the class or the contributions to it after one
        backward pass; the capture itself if nothing is missing.

    Raises:
        SettingsError: no such class, or a source that the model does not have.
        ModelError: another model than the capture's, one that no gradient flows through, or one whose contributions do
            not add up.
    """
    source = settings.source_info
    require_source(capture, source)
    if source.norms:
        capture = capture_value_norms(model, capture)
    if source.signed:
        capture = capture_contributions(model, capture, settings.target)
    elif not source.no_class:
        capture = capture_gradients(model, capture, settings.target)
    return capture


def needs_completion(capture: AttentionCapture, settings: MapSettings) -> bool:
    """Whether `complete_capture` would have to add something.

    Raises:
        SettingsError: no such class.
    """
    source = settings.source_info
    if source.no_class:
        return source.norms and not capture.value_norms
    target = capture.resolve_target(settings.target)
    return all(added.target != target for added in (capture.contributions if source.signed else capture.gradients))
