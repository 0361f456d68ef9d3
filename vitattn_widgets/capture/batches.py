"""Many photos at once: the default query's attention row in each layer, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..images import Picture, load_picture
from ..models.tokens import LayerTokens, TokenLayout, resolve_index
from .attention import mean_row
from .forward import read_layer
from .patch_attention import split_prefix
from .recorder import watched_forward
from .sites import SiteCalls

if TYPE_CHECKING:
    from ..models.loading import AttentionModel


@dataclass(frozen=True, eq=False)
class AttentionRows:
    """The default query's attention in every layer, for a batch of photos.

    Attributes:
        model_name: name of the model.
        layout: the model's tokens.
        layer_names: one name per layer.
        tokens: the tokens of each layer.
        rows: for each layer float32 ``(batch, heads, tokens)``.
        probabilities: float32 ``(batch, classes)``.
        class_names: one name per class.
    """

    model_name: str
    layout: TokenLayout
    layer_names: tuple[str, ...]
    tokens: tuple[LayerTokens, ...]
    rows: tuple[np.ndarray, ...]
    probabilities: np.ndarray
    class_names: tuple[str, ...]

    def layer_index(self, layer: int) -> int:
        """See `AttentionCapture.layer_index`."""
        return resolve_index(layer, len(self.rows), "layer", self.model_name)

    def attention(self, layer: int = -1) -> np.ndarray:
        """The model's own rows, float32 ``(batch, heads, tokens)``."""
        return self.rows[self.layer_index(layer)]

    def patch_attention(self, layer: int = -1) -> np.ndarray:
        """Eq. 3, float32 ``(batch, heads, rows, cols)``; each head sums to 1."""
        return self._split(layer)[0]

    def prefix_share(self, layer: int = -1) -> np.ndarray:
        """Share of the attention that goes to prefix tokens, float32 ``(batch, heads)``."""
        return self._split(layer)[1]

    def _split(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        index = self.layer_index(layer)
        rows, tokens = self.rows[index].astype(np.float64), self.tokens[index]
        return split_prefix(rows, tokens.first_patch, tokens.grid)


def capture_rows_tensor(model: AttentionModel, tensor: Tensor, sites: Sequence[str] | None = None) -> AttentionRows:
    """`capture_rows` for one prepared batch: ``(batch, 3, H, W)``, normalised, on the model's device.

    With `sites`, some names of ``model.sites`` in their order, only these layers are captured, as if the model had no
    others; the pass then costs hardly more than a plain one.
    """
    names: list[str] = []
    tokens: list[LayerTokens] = []
    rows: list[Tensor] = []

    def keep(name: str, calls: SiteCalls) -> None:
        site, layer = read_layer(model, name, calls)
        queries = _default_queries(layer, model.layout.default_query)
        batch, heads, keys = site.shape
        names.append(name)
        tokens.append(layer)
        rows.append(mean_row(site.attention, queries, batch * heads, keys, torch.float32))

    watched = model.sites if sites is None else {name: model.sites[name] for name in sites}
    logits = watched_forward(model.module, model.parts, watched, tensor, keep)
    return AttentionRows(
        model_name=model.name,
        layout=model.layout,
        layer_names=tuple(names),
        tokens=tuple(tokens),
        rows=tuple(row.cpu().numpy() for row in rows),
        probabilities=model.probabilities(logits),
        class_names=model.class_names,
    )


@lru_cache(maxsize=256)
def _default_queries(tokens: LayerTokens, wanted: str) -> np.ndarray:
    return tokens.query_indices(tokens.default(wanted), "this layer")


def capture_rows(model: AttentionModel, pictures: Iterable[Picture], batch_size: int = 16) -> Iterator[AttentionRows]:
    """Capture many photos, keeping only the default query's row of every layer.

    Args:
        model: from `load_model`.
        pictures: paths, PIL pictures or uint8 arrays.
        batch_size: photos per forward pass.

    Yields:
        One `AttentionRows` per batch, in order.

    Raises:
        PictureError: a photo cannot be read.
    """
    photos = iter(pictures)
    for batch in iter(partial(_take, photos, batch_size), []):
        views = [model.preprocessing.view(load_picture(photo)) for photo in batch]
        tensor = torch.stack([model.preprocessing.tensor(view.pixels) for view in views])
        yield capture_rows_tensor(model, tensor.to(model.device, model.dtype))


def _take(photos: Iterator[Picture], count: int) -> list[Picture]:
    return list(islice(photos, count))
