"""How long the value vectors are after the output projection: read from the model's weights, without a pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ..models.families import output_projection
from .forward import require_same_model

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture


def capture_value_norms(model: AttentionModel, capture: AttentionCapture) -> AttentionCapture:
    """Add to a capture the length of each value vector after its head's part of the output projection; no pass is run.

    Convention: ``||v_j W_o^h||`` of Kobayashi et al. 2020, "Attention is Not Only a Weight" (doi:10.18653/v1/
    2020.emnlp-main.574). The projection's bias, which belongs to no token, is left out; so is a gate or the scale of a
    normalisation between attention and projection, which depends on the query.

    Returns:
        The same capture with `value_norms`; the capture itself if it has them already.

    Raises:
        ModelError: another model than the capture's, or an attention module whose projection is not known.
    """
    if capture.value_norms:
        return capture
    require_same_model(model, capture)
    norms = []
    for layer in capture.layers:
        projection = output_projection(model.sites[layer.name], layer.num_heads, layer.values.shape[3])
        values = layer.values[0]  # head key width
        if projection is not None:
            values = values @ projection.to("cpu", torch.float32)
        norms.append(values.norm(dim=-1).numpy())
    return replace(capture, value_norms=tuple(norms))
