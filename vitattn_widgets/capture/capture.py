"""One forward pass as a value: everything needed to compute any attention row, and nothing of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError
from ..images import CropBox
from ..models.partitions import cell_shape, merges
from ..models.tokens import LayerTokens, Query, TokenLayout, resolve_index
from .attention import Attention, mean_row, query_chunks, rebuild
from .cache import remembered
from .contributions import ClassContributions
from .layer_answers import LayerAnswers
from .patch_attention import split_prefix
from .targets import ClassGradients, Direction

Added = TypeVar("Added", "ClassGradients", ClassContributions)


@dataclass(frozen=True, eq=False)
class CapturedLayer:
    """What one attention layer used and produced.

    Attributes:
        name: qualified name of the attention module, ``"blocks.11.attn"``.
        tokens: its query and key tokens.
        attention: computes any row of its attention matrix.
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
        """Name of the block. Layers of one block run side by side: they read the same tokens; their results add up."""
        return self.name.partition(".attns.")[0]

    @property
    def staged(self) -> bool:
        """Whether the layer is of a model with windows or stages."""
        return self.tokens.partition is not None

    @property
    def residual(self) -> bool:
        """Whether the layer's result is added to its tokens; a pool's result takes their place."""
        return not self.name.endswith("attn_pool")


@dataclass(frozen=True)
class Verification:
    """How far captured attention times values is from what each layer really produced.

    Attributes:
        differences: by layer name, the largest absolute difference divided by the largest absolute output; of
            contributions, by their class, `ClassContributions.rest`.
    """

    differences: dict[str, float]

    @property
    def largest(self) -> float:
        """The largest relative difference of all."""
        return max(self.differences.values())

    def __str__(self) -> str:
        width = max(map(len, self.differences))
        return "\n".join(f"{name:<{width}}  {value:.1e}" for name, value in self.differences.items())


@dataclass(frozen=True, eq=False)
class AttentionCapture:
    """Everything that one forward pass says about one photo. It holds no reference to the model and can be pickled.

    Attributes:
        model_name: name of the model, with timm's tag if it has one.
        layout: the model's tokens on this input size.
        layers: one entry per attention layer, in the order of the forward pass.
        pixels: uint8 ``(H, W, 3)``, the model's whole input before normalisation.
        view: uint8 ``(H, W, 3)``, the part of it that whole patches cover: the pixels that the model saw.
        source: uint8, the upright photo.
        crop_box: ``(left, top, right, bottom)`` of the view in pixels of the photo.
        probabilities: float32 ``(classes,)``, softmax of the logits; empty if the model has no classifier.
        class_names: one name per class.
        value_norms: for each layer float32 ``(head, key)``, lengths of the values after the output projection; empty
            until `complete_capture` adds them.
        gradients: of the classes that `complete_capture` or `capture_gradients` added, the newest last.
        contributions: of the classes that `complete_capture` or `capture_contributions` added, the newest last.
        directions: the targets that `add_direction` added beside the classes.
        answers: the classifier's answer after every layer, if `capture_attention` was asked for it or
            `capture_layer_answers` added it.
        unsure: whether the photo probably shows none of the classes (`AttentionModel.is_unsure`).
        undivided: why the model's answers cannot be divided into contributions of tokens; empty if nothing is known
            against it, and `capture_contributions` finds out.
        chained: whether the attention layers of a model with windows or stages follow one another with nothing between
            them but poolings and convolutions.
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
    contributions: tuple[ClassContributions, ...] = ()
    directions: tuple[Direction, ...] = ()
    answers: LayerAnswers | None = None
    unsure: bool = False
    undivided: str = ""
    chained: bool = False

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Memory of the capture in bytes; memory shared by several tensors counts once."""
        shared: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            shared[storage.data_ptr()] = storage.nbytes()
            return tensor

        rebuild((self.layers, self.gradients), Tensor, count)
        arrays = [self.pixels, self.source, self.probabilities, *self.value_norms]
        if self.answers is not None:
            arrays.append(self.answers.probabilities)
        return sum(shared.values()) + sum(array.nbytes for array in arrays)

    @property
    def staged(self) -> bool:
        """Whether the model has windows or stages; all others are flat."""
        return any(layer.staged for layer in self.layers)

    @property
    def followed(self) -> bool:
        """Whether attention can be followed from layer to layer: where poolings of patches lead from grid to grid."""
        if not self.staged:
            return True
        grids = [grid for layer in self.layers for grid in (layer.tokens.entering_grid, layer.tokens.query_grid)]
        inside = all(merges(layer.tokens.entering_grid, layer.tokens.grid) for layer in self.layers)
        return self.chained and inside and all(map(merges, grids, grids[1:]))

    def patch_shape(self, layer: int = -1) -> tuple[int, int]:
        """Height and width in pixels of the view of the patches on which a layer's maps lie.

        Raises:
            SettingsError: no such layer.
        """
        captured = self.layers[self.layer_index(layer)]
        if not captured.staged:
            return self.layout.patch_shape
        height, width = self.view.shape[:2]
        return cell_shape((height, width), captured.tokens.grid)

    def covered(self, layer: int = -1) -> tuple[int, int]:
        """Height and width in pixels of what a layer's patches cover: the view, or more where the last ones exceed it.

        Raises:
            SettingsError: no such layer.
        """
        grid = self.layers[self.layer_index(layer)].tokens.grid
        height, width = (
            max(pixels, count * side)
            for pixels, count, side in zip(self.view.shape[:2], grid, self.patch_shape(layer), strict=True)
        )
        return height, width

    def num_heads(self, layer: int = -1) -> int:
        return self.layers[self.layer_index(layer)].num_heads

    def layer_index(self, layer: int) -> int:
        """`layer` as a number ``0..num_layers-1``; negative numbers count from the end.

        Raises:
            SettingsError: no such layer.
        """
        return resolve_index(layer, self.num_layers, "layer", self.model_name)

    def layer_words(self, layer: int = -1) -> str:
        """A layer as people read it: its number, the last layer's number, its module.

        Raises:
            SettingsError: no such layer.
        """
        layer = self.layer_index(layer)
        return f"layer {layer} of 0..{self.num_layers - 1} ({self.layer_names[layer]})"

    def queries(self, layer: int = -1) -> tuple[str, ...]:
        """The named queries of a layer; if ``"mean"`` is one, each patch ``(row, col)`` is one too."""
        return self.layers[self.layer_index(layer)].tokens.names

    def query_or_default(self, layer: int = -1, query: Query | None = None) -> Query:
        """`query` itself, or the layer's default query for None."""
        if query is not None:
            return query
        return self.layers[self.layer_index(layer)].tokens.default(self.layout.default_query)

    def query_indices(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """The rows of a layer's attention matrix whose mean is the attention of a query, int64 ``(rows to average,)``.

        Raises:
            SettingsError: no such layer or query.
        """
        index = self.layer_index(layer)
        captured = self.layers[index]
        where = f"layer {index} ({captured.name}) of {self.model_name}"
        return captured.tokens.query_indices(self.query_or_default(index, query), where)

    def class_or_predicted(self, target: int | None = None) -> int:
        """The number of the class: `target`, or the most probable class for None.

        Raises:
            SettingsError: no such class, or a model without a classifier.
        """
        if not len(self.class_names):
            raise SettingsError(f"{self.model_name} has no classifier, so it gives no answer to follow")
        if target is None:
            return int(self.probabilities.argmax())
        return resolve_index(target, len(self.class_names), "class", self.model_name)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the targets, by number: the classes, then the directions."""
        return (*self.class_names, *(direction.name for direction in self.directions))

    def direction(self, target: int) -> Direction | None:
        """The direction of a target's number, from 0 on; None for a class."""
        place = target - len(self.class_names)
        return None if place < 0 else self.directions[place]

    def resolve_target(self, target: int | None = None) -> int | None:
        """The number of a target: `target`, a class or a direction, or the most probable class for None.

        Returns:
            None for the model's own feature vector: what None means where there is no classifier.

        Raises:
            SettingsError: no such class or direction.
        """
        if target is None:
            return int(self.probabilities.argmax()) if self.class_names else None
        names = self.target_names
        if not names:
            raise SettingsError(
                f"{self.model_name} has no classifier, so there is no class {target}; maps are of its feature vector, "
                "or of a direction: see add_direction"
            )
        return resolve_index(target, len(names), "class", self.model_name)

    def answer_words(self, target: int | None) -> str:
        """What maps of a target explain, in words: a class, a likeness, or the features without a classifier."""
        if target is None:
            return "its feature vector"
        direction = self.direction(target)
        return self.class_names[target] if direction is None else f"likeness to {direction.name}"

    def class_gradients(self, target: int | None = None) -> ClassGradients:
        """The gradients of a target that were added to this capture.

        Raises:
            SettingsError: no such class or direction, or its gradients were not added.
        """
        target = self.resolve_target(target)
        return _of_target(self.gradients, target, f"gradients of {self.answer_words(target)}")

    def class_contributions(self, target: int | None = None) -> ClassContributions:
        """The contributions to a target that were added to this capture.

        Raises:
            SettingsError: no such class or direction, or its contributions were not added.
        """
        target = self.resolve_target(target)
        return _of_target(self.contributions, target, f"contributions to {self.answer_words(target)}")

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes, ``(class name, probability)``; empty without a classifier."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]

    @property
    def doubt(self) -> str:
        """A sentence where the model is `unsure`; else empty."""
        if not self.unsure:
            return ""
        return (
            f"Not sure: little here speaks for any of the {len(self.class_names)} classes that the model knows; "
            "this is probably none of them."
        )

    def attention(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """The model's own attention row of a query.

        Args:
            layer: layer number.
            query: ``"class"``, ``"dist"``, ``"reg0"``, ..., ``"pool"``, ``"mean"`` (mean of the patch queries), names
                joined by ``+`` (their mean), or a patch ``(row, col)``; None is what the classifier reads.

        Returns:
            float32 ``(heads, tokens)``, what multiplied the layer's values; rows sum to 1, unless the layer
            mixes heads (CaiT) or subtracts two softmaxes.

        Raises:
            SettingsError: no such layer or query.
        """
        return self._row(layer, query).astype(np.float32)

    def patch_attention(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """Attention over the patches alone, eq. 3 of Calderaro et al. 2023.

        Returns:
            float32 ``(heads, rows, cols)``; each head sums to 1 (see `split_prefix` for mixed heads).

        Raises:
            SettingsError: no such layer or query.
        """
        return self.split_attention(layer, query)[0]

    def prefix_share(self, layer: int = -1, query: Query | None = None) -> np.ndarray:
        """What eq. 3 leaves out: the share of the attention that goes to prefix tokens.

        Returns:
            float32 ``(heads,)`` in 0..1.

        Raises:
            SettingsError: no such layer or query.
        """
        return self.split_attention(layer, query)[1]

    def split_attention(self, layer: int = -1, query: Query | None = None) -> tuple[np.ndarray, np.ndarray]:
        """`patch_attention` and `prefix_share` at once, for callers that need both.

        Raises:
            SettingsError: no such layer or query.
        """
        tokens = self.layers[self.layer_index(layer)].tokens
        # of the float32 row, which a browser holds too: both then compute the very same maps
        return split_prefix(self.attention(layer, query).astype(np.float64), tokens.first_patch, tokens.grid)

    def verify(self) -> Verification:
        """Recompute every layer's output from the captured attention and values and compare.

        Where contributions were added, it also adds those up and compares them with the logit.

        Returns:
            The largest difference in each layer, relative to its largest output, and what contributions leave of their
            logit; about 1e-6 for float32 models.
        """
        layers = {layer.name: _largest_difference(layer) for layer in self.layers}
        logits = {f"contributions to {self.answer_words(one.target)}": one.rest for one in self.contributions}
        return Verification(layers | logits)

    def _row(self, layer: int, query: Query | None) -> np.ndarray:
        """The attention row of a query, read-only float64 ``(heads, keys)``."""
        index = self.layer_index(layer)
        captured, indices = self.layers[index], self.query_indices(index, query)

        def compute() -> np.ndarray:
            # a mean over all patches reads the whole matrix: float32 takes half the time, relative error up to 3e-6
            dtype = torch.float64 if len(indices) == 1 else torch.float32
            row = (
                mean_row(captured.attention, indices, captured.num_heads, captured.num_keys, dtype)[0].double().numpy()
            )
            row.setflags(write=False)
            return row

        return remembered(self, ("row", index), indices.tolist(), compute)

    def __getstate__(self) -> dict[str, Any]:
        # a layer's tensors are views of shared memory; plain pickling would write all of it for each of them
        plain = {name: rebuild(getattr(self, name), Tensor, Tensor.numpy) for name in ("layers", "gradients")}
        return vars(self) | plain

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for name in ("layers", "gradients"):
            vars(self)[name] = rebuild(getattr(self, name), np.ndarray, torch.from_numpy)


def _of_target(kept: Sequence[Added], target: int | None, what: str) -> Added:
    """What was added to a capture for a class.

    Raises:
        SettingsError: nothing was; `what` it lacks, in the plural.
    """
    found = next((added for added in kept if added.target == target), None)
    if found is None:
        raise SettingsError(
            f"this capture holds no {what}, which only the model can give; add them first: "
            "capture = va.complete_capture(model, capture, settings)"
        )
    return found


def _largest_difference(layer: CapturedLayer) -> float:
    values, output = layer.values.double(), layer.output.double()
    worst = 0.0
    for chunk in query_chunks(np.arange(output.shape[2]), layer.num_heads, layer.num_keys):
        again = layer.attention.rows(chunk, torch.float64) @ values  # batch head query width
        worst = max(worst, float((again - output[:, :, chunk]).abs().max()))
    return worst / max(float(output.abs().max()), torch.finfo(torch.float64).tiny)
