"""One forward pass becomes a value: everything needed to ask for any attention row, and nothing of the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .attention import Attention, mean_row, query_chunks, rebuild, split_prefix
from .errors import SettingsError
from .families import SiteAttention, SiteCalls, is_latent_pool, layer_tokens, read_site
from .gradients import ClassGradients
from .images import Picture, load_picture
from .preprocess import CropBox, View
from .recorder import watched_forward
from .tokens import LayerTokens, Query, TokenLayout, resolve_index

if TYPE_CHECKING:
    from .models import AttentionModel


@dataclass(frozen=True, eq=False)
class CapturedLayer:
    """What one attention layer used and made.

    Attributes:
        name: qualified name of the attention module, ``"blocks.11.attn"``.
        tokens: its query and key tokens.
        attention: gives any row of its attention matrix.
        values: float32 ``(1, head, key, width)``.
        output: float32 ``(1, head, query, width)``, attention times values as the model's own kernel computed it.
    """

    name: str
    tokens: LayerTokens
    attention: Attention
    values: Tensor
    output: Tensor

    @property
    def num_heads(self) -> int:
        return self.values.shape[1]

    @property
    def num_keys(self) -> int:
        return self.values.shape[2]

    @property
    def block(self) -> str:
        """Layers of the same block run side by side: they read the same tokens and their results are summed."""
        return self.name.partition(".attns.")[0]

    @property
    def residual(self) -> bool:
        """Whether what the layer makes is added to its tokens; a pool's result takes their place."""
        return not self.name.endswith("attn_pool")


@dataclass(frozen=True)
class Verification:
    """How far attention times values is from what each layer really produced.

    Attributes:
        differences: by layer name, the largest absolute difference divided by the largest absolute output.
    """

    differences: dict[str, float]

    @property
    def largest(self) -> float:
        """The largest relative difference of all layers."""
        return max(self.differences.values())

    def __str__(self) -> str:
        width = max(map(len, self.differences))
        return "\n".join(f"{name:<{width}}  {value:.1e}" for name, value in self.differences.items())


@dataclass(frozen=True, eq=False)
class AttentionCapture:
    """Everything one forward pass says about one photo. Holds no reference to the model; can be pickled.

    Attributes:
        model_name: name of the model, with timm's tag where it has one.
        layout: the model's tokens on this input size.
        layers: one entry an attention layer, in the order of the forward pass.
        pixels: uint8 ``(H, W, 3)``, the model's whole input before normalisation.
        view: uint8 ``(H, W, 3)``, what whole patches cover of it: the pixels that the model saw.
        source: uint8, the upright photo.
        crop_box: ``(left, top, right, bottom)`` of the view in pixels of the photo.
        probabilities: float32 ``(classes,)``, softmax of the logits; empty where the model has no classifier.
        class_names: one name a class.
        value_norms: for each layer float32 ``(head, key)``, lengths of the values after the output projection; empty
            until `complete_capture` adds them.
        gradients: of the classes that `complete_capture` or `capture_gradients` added, the newest last.
    """

    model_name: str
    layout: TokenLayout
    layers: tuple[CapturedLayer, ...]
    pixels: np.ndarray
    view: np.ndarray
    source: np.ndarray
    crop_box: CropBox
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    value_norms: tuple[np.ndarray, ...] = ()
    gradients: tuple[ClassGradients, ...] = ()
    # of each layer the query asked for last and its row: most changes of a picture ask for the same one again
    _last_rows: dict[int, tuple[Query, np.ndarray]] = field(default_factory=dict, init=False, repr=False)
    # what other modules worked out last, by what it is: the question and its answer
    _memo: dict[str, tuple[Any, Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the capture holds; memory that several tensors share counts once."""
        shared: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            shared[storage.data_ptr()] = storage.nbytes()
            return tensor

        rebuild((self.layers, self.gradients), Tensor, count)
        arrays = [self.pixels, self.source, self.probabilities, *self.value_norms]
        arrays += [row for _, row in self._last_rows.copy().values()]
        return sum(shared.values()) + sum(array.nbytes for array in arrays)

    def num_heads(self, layer: int = -1) -> int:
        return self.layers[self.layer_index(layer)].num_heads

    def layer_index(self, layer: int) -> int:
        """`layer` as a number ``0..num_layers-1``; negative numbers count from the end.

        Raises:
            SettingsError: no such layer.
        """
        return resolve_index(layer, self.num_layers, "layer", self.model_name)

    def queries(self, layer: int = -1) -> tuple[str, ...]:
        """The named queries of a layer; where it has ``"mean"``, each patch ``(row, col)`` is one too."""
        return self.layers[self.layer_index(layer)].tokens.names

    def query_or_default(self, layer: int = -1, query: Query | None = None) -> Query:
        """The query that None stands for in this layer, else `query` itself."""
        if query is not None:
            return query
        return self.layers[self.layer_index(layer)].tokens.default(self.layout.default_query)

    def class_or_predicted(self, target: int | None = None) -> int:
        """The class that None stands for, the most probable one, else `target` itself.

        Raises:
            SettingsError: no such class, or a model without a classifier.
        """
        if not len(self.class_names):
            raise SettingsError(f"{self.model_name} has no classifier, so no map can be asked for a class")
        if target is None:
            return int(self.probabilities.argmax())
        return resolve_index(target, len(self.class_names), "class", self.model_name)

    def class_gradients(self, target: int | None = None) -> ClassGradients:
        """The gradients of a class that were added to this capture.

        Raises:
            SettingsError: no such class, or its gradients were not added.
        """
        target = self.class_or_predicted(target)
        found = next((added for added in self.gradients if added.target == target), None)
        if found is None:
            raise SettingsError(
                f"this capture holds no gradients of class {target} ({self.class_names[target]}), and without the "
                "model there is no way to them; add them first: capture = va.complete_capture(model, capture, settings)"
            )
        return found

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes, ``(class name, probability)``; empty without a classifier."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]

    def attention(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """The model's own attention row of a query.

        Args:
            layer: layer number.
            query: ``"class"``, ``"dist"``, ``"reg0"``, ..., ``"pool"``, ``"mean"`` (mean of the patch queries), names
                joined by ``+`` (their mean), or a patch ``(row, col)``; None is what the classifier reads.

        Returns:
            float32 ``(heads, tokens)``, what multiplied the layer's values; rows sum to 1 unless the layer mixes heads.

        Raises:
            SettingsError: no such layer or query.
        """
        return self._row(layer, query).astype(np.float32)

    def patch_attention(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """Attention over the patches alone, eq. 3 of Calderaro et al. 2023.

        Returns:
            float32 ``(heads, rows, cols)``; each head sums to 1 (see `attention.split_prefix` for mixed heads).

        Raises:
            SettingsError: no such layer or query.
        """
        return self._split(layer, query)[0]

    def prefix_share(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """What eq. 3 leaves out: the share of attention that went to prefix tokens.

        Returns:
            float32 ``(heads,)`` in 0..1.

        Raises:
            SettingsError: no such layer or query.
        """
        return self._split(layer, query)[1]

    def verify(self) -> Verification:
        """Recompute every layer's output from the captured attention and values and compare.

        Returns:
            The largest difference by layer, relative to the layer's largest output. About 1e-6 for float32 models.
        """
        return Verification({layer.name: _largest_difference(layer) for layer in self.layers})

    def _row(self, layer: int, query: Query | None) -> np.ndarray:
        """float64 ``(heads, keys)``, not to be written to."""
        index = self.layer_index(layer)
        query = self.query_or_default(index, query)
        last = self._last_rows.get(index)
        if last is not None and type(query) is type(last[0]) and query == last[0]:
            return last[1]
        captured = self.layers[index]
        indices = captured.tokens.query_indices(query, f"layer {index} ({captured.name}) of {self.model_name}")
        rows = mean_row(captured.attention, indices, captured.num_heads, captured.num_keys, torch.float64)
        row = rows[0].numpy()
        row.setflags(write=False)
        self._last_rows[index] = (query, row)
        return row

    def _split(self, layer: int, query: Query | None) -> tuple[np.ndarray, np.ndarray]:
        prefix = len(self.layers[self.layer_index(layer)].tokens.key_prefix)
        return split_prefix(self._row(layer, query), prefix, self.layout.grid)

    def __getstate__(self) -> dict[str, Any]:
        # a layer's tensors are views of shared memory, all of which plain pickling would write for each of them
        plain = {name: rebuild(getattr(self, name), Tensor, Tensor.numpy) for name in ("layers", "gradients")}
        return vars(self) | plain | {"_last_rows": {}, "_memo": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for name in ("layers", "gradients"):
            vars(self)[name] = rebuild(getattr(self, name), np.ndarray, torch.from_numpy)


def _largest_difference(layer: CapturedLayer) -> float:
    values, output = layer.values.double(), layer.output.double()
    worst = 0.0
    for chunk in query_chunks(np.arange(output.shape[2]), layer.num_heads, layer.num_keys):
        again = layer.attention.rows(chunk, torch.float64) @ values  # batch head query width
        worst = max(worst, float((again - output[:, :, chunk]).abs().max()))
    return worst / max(float(output.abs().max()), torch.finfo(torch.float64).tiny)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", torch.float32)


def _plain_copy(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", torch.float32, copy=True)


def capture_tensor(model: AttentionModel, tensor: Tensor) -> tuple[tuple[CapturedLayer, ...], Tensor]:
    """Run a model once on a prepared input and keep every layer's operands.

    Args:
        model: the model.
        tensor: ``(1, 3, H, W)``, normalised, on the model's device.

    Returns:
        The captured layers and the model's output.
    """
    layers: list[CapturedLayer] = []

    def keep(name: str, calls: SiteCalls) -> None:
        seen, tokens = read_layer(model, name, calls)
        # latent queries can be a view of a parameter; all else the forward pass made, and nobody else holds on to it
        own = _plain if tokens.query_patches else _plain_copy
        attention = rebuild(seen.attention, Tensor, own)
        layers.append(CapturedLayer(name, tokens, attention, own(seen.values), own(seen.output)))

    logits = watched_forward(model.module, model.parts, model.sites, tensor, keep)
    if not layers:
        raise RuntimeError(f"the forward pass of {model.name} ran none of its attention modules")
    return tuple(layers), logits


def capture_attention(model: AttentionModel, picture: Picture) -> AttentionCapture:
    """Capture a photo: one forward pass, after which any layer, head and query can be shown.

    Args:
        model: from `load_model`.
        picture: a path, a PIL picture or a uint8 array.

    Returns:
        The capture; it takes ``4 x layers x tokens x width`` floats, never a tokens x tokens matrix.

    Raises:
        PictureError: the photo cannot be read.
    """
    photo = load_picture(picture)
    view = model.preprocessing.view(photo)
    tensor = model.preprocessing.tensor(view.pixels)[None].to(model.device, model.dtype)
    layers, logits = capture_tensor(model, tensor)
    seen = seen_part(model, view)
    return AttentionCapture(
        model_name=model.name,
        layout=model.layout,
        layers=layers,
        pixels=view.pixels,
        view=seen.pixels,
        source=np.array(photo),
        crop_box=seen.crop_box,
        probabilities=model.probabilities(logits)[0],
        class_names=model.class_names,
    )


def capture_again(model: AttentionModel, capture: AttentionCapture) -> AttentionCapture:
    """What a model of the same input makes of exactly the pixels of a capture: one forward pass.

    Args:
        model: a changed copy of the capture's model.
        capture: from `capture_attention`.
    """
    tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype)
    layers, logits = capture_tensor(model, tensor)
    probabilities = model.probabilities(logits)[0]
    return replace(capture, layers=layers, probabilities=probabilities, value_norms=(), gradients=())


def seen_part(model: AttentionModel, view: View) -> View:
    """What whole patches cover of a view, on which maps lie."""
    rows, cols = model.layout.grid
    height, width = model.layout.patch_shape
    return view.part(rows * height, cols * width)


def read_layer(model: AttentionModel, name: str, calls: SiteCalls) -> tuple[SiteAttention, LayerTokens]:
    """What an attention module used in a forward pass, for a whole batch, and its tokens.

    Raises:
        ModelError: attention or tokens that this kit does not know.
    """
    site = model.sites[name]
    seen = read_site(site, calls, model.layout, name)
    queries, keys = seen.output.shape[2], seen.values.shape[2]
    return seen, layer_tokens(is_latent_pool(site), queries, keys, model.layout, f"{name} of {model.name}")
