"""The tensors of capsules and of answers to requests: names, shapes and types (see ``docs/capsule.md``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from ..capture.attention import Bias, DenseBias, OffsetBias, SoftmaxAttention, compact_bias
from ..capture.capture import AttentionCapture
from ..capture.window_attention import WindowAttention
from ..maps.attribution import source_maps
from ..maps.completion import complete_capture
from ..maps.resolve import resolve
from ..maps.settings import MapSettings
from ..models.partitions import windows_of
from ..models.tokens import Query
from ..view.drawing import color_table

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

KEY = "vitattn"
"""The entry of the file's ``__metadata__`` that holds the facts as JSON."""

EXACT_BYTES = 2 << 20
"""Queries and keys of a layer are sent as they are up to this size (ViT-Base's take 1.2 MB), and rounded beyond it."""

MOST_BYTES = 16 << 20
"""Rounded queries and keys of a layer are sent up to this size (SAM's ViT-B has 13 MB), and rows beyond it."""

Tensors = dict[str, np.ndarray]


def pack(facts: Mapping[str, Any] | None, tensors: Tensors) -> bytes:
    """A safetensors file of some tensors; an answer has no facts (None)."""
    metadata = None if facts is None else {KEY: json.dumps(facts, ensure_ascii=False, separators=(",", ":"))}
    return safetensors.numpy.save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, metadata)


def query_text(query: Query) -> str:
    """A query as part of a tensor's name: its own name, or ``"row,col"``."""
    return query if isinstance(query, str) else f"{query[0]},{query[1]}"


def row_tensors(capture: AttentionCapture, layer: int, query: Query) -> Tensors:
    """The attention row of a query, float32 ``(heads, keys)``."""
    return {f"layer{layer}.row.{query_text(query)}": capture.attention(layer, query)}


def norm_tensors(capture: AttentionCapture, layer: int) -> Tensors:
    """The value norms of a layer, float32 ``(heads, keys)``; nothing if the capture has none."""
    return {f"layer{layer}.value_norms": capture.value_norms[layer]} if capture.value_norms else {}


def color_tensors(cmap: str) -> Tensors:
    """The table of a colour map, uint8 ``(256, 3)``."""
    return {f"colors.{cmap}": color_table(cmap)}


def window_tensors(capture: AttentionCapture, layer: int) -> Tensors:
    """The windows of a layer, as `Windows` has them; nothing if every query reaches every key."""
    attention = capture.layers[layer].attention
    if not isinstance(attention, WindowAttention):
        return {}
    windows = windows_of(attention.partition)
    small = np.int16 if windows.num_keys <= np.iinfo(np.int16).max else np.int32
    tables: Tensors = {"queries": windows.queries.astype(small), "keys": windows.keys.astype(small)}
    if windows.regions is not None:
        tables["regions"] = windows.regions.astype(np.uint8)
    return {f"layer{layer}.windows.{name}": table for name, table in tables.items()}


def is_one_softmax(capture: AttentionCapture, layer: int) -> bool:
    """Whether any patch's row of a layer is the softmax of scores, over all keys or inside windows."""
    return _softmax(capture, layer) is not None


def has_operands(capture: AttentionCapture, layer: int) -> bool:
    """Whether a browser gets what it computes any row of a layer from: `is_one_softmax`, of at most `MOST_BYTES`."""
    attention = _softmax(capture, layer)
    if attention is None:
        return False
    scores = attention.scores if isinstance(attention, SoftmaxAttention) else attention
    return 2 * (scores.q.numel() + scores.k.numel()) <= MOST_BYTES


def _softmax(capture: AttentionCapture, layer: int) -> SoftmaxAttention | WindowAttention | None:
    attention = capture.layers[layer].attention
    if not capture.layers[layer].tokens.query_patches or not isinstance(attention, SoftmaxAttention | WindowAttention):
        return None
    return attention


def operand_tensors(capture: AttentionCapture, layer: int, bits: int | None = None) -> Tensors:
    """Queries and keys of a layer for which `has_operands` holds, and its bias.

    Args:
        capture: from `capture_attention`.
        layer: from 0 on.
        bits: precision, see `fixed_point`; None is float32 up to `EXACT_BYTES`, beyond which it is 16 bits.
    """
    attention = _softmax(capture, layer)
    if attention is None:
        name = type(capture.layers[layer].attention).__name__
        raise TypeError(f"layer {layer} has no operands that a browser could use: {name}")
    bias: Bias | None
    if isinstance(attention, WindowAttention):  # the tokens are the slots of all windows
        q, k = (part[0].transpose(0, 1).flatten(1, 2) for part in (attention.q, attention.k))
        scale, bias = attention.scale.flatten().double().numpy(), _window_bias(attention)
    else:
        scores = attention.scores
        q, k, scale, bias = scores.q[0], scores.k[0], np.array([scores.scale]), scores.bias
    if bits is None and 4 * (q.numel() + k.numel()) > EXACT_BYTES:
        bits = 16
    start = f"layer{layer}"
    tensors: Tensors = {f"{start}.scale": scale}
    for part, values in ((f"{start}.q", q), (f"{start}.k", k)):
        exact = values.float().numpy()
        if bits is None:
            tensors[part] = exact
        else:
            tensors[part], tensors[f"{part}_scale"] = fixed_point(exact, bits)
    if isinstance(bias, OffsetBias):
        heads = capture.num_heads(layer)
        for field in fields(bias):
            values = getattr(bias, field.name).float()
            tensors[f"{start}.bias.{field.name}"] = values.expand(heads, -1, -1).numpy()
    elif isinstance(bias, DenseBias):
        tensors[f"{start}.bias"] = bias.values.reshape(-1, *bias.values.shape[-3:]).float().numpy()
    return tensors


def _window_bias(attention: WindowAttention) -> Bias | None:
    if attention.bias is None:
        return None
    if len(attention.bias) > 1:
        return DenseBias(attention.bias)
    return compact_bias(attention.bias[0].float(), attention.partition.key_window)


def fixed_point(values: np.ndarray, bits: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Vectors as whole numbers and one factor each: ``values = integers * factor``.

    As small as float16 and finer: the largest entry of a vector has 16 bits where float16 has 11 and a sign.

    Args:
        values: ``(head, token, width)``.
        bits: precision, 2..16, the sign included; the integers' lower bits are 0, so that they can be compressed.

    Returns:
        int16 ``(head, token, width)`` and float32 ``(head, token)``.
    """
    step = 1 << (16 - bits)
    most = (1 << 15) - step  # the largest multiple of `step` that fits
    top = np.abs(values).max(-1)  # head token
    scale = np.where(top > 0, top / np.float32(most), 1).astype(np.float32)
    integers = np.rint(values.astype(np.float64) / scale[..., None] / step) * step
    return integers.clip(-most, most).astype(np.int16), scale


def map_tensors(
    model: AttentionModel, capture: AttentionCapture, maps: Sequence[MapSettings]
) -> tuple[Tensors, AttentionCapture]:
    """The maps of some settings, float32 ``(heads or 1, rows, cols)``, and their prefix shares ``(heads or 1,)``.

    Contributions have `LogitParts` too, float32 ``(3,)``.

    Returns:
        The tensors, and the capture with what they needed.

    Raises:
        SettingsError: settings that the capture does not have.
        ModelError: a source that this model cannot give.
    """
    tensors: Tensors = {}
    for settings in maps:
        resolved = resolve(capture, settings)
        capture = complete_capture(model, capture, settings)
        computed = source_maps(capture, settings)
        fusion = resolved.aggregation if resolved.source.fuses_heads else "-"
        target = "-" if resolved.target is None else str(resolved.target)
        name = f"maps/{resolved.source.name}/{resolved.layer}/{query_text(resolved.query)}/{target}/{fusion}"
        tensors |= {name: computed.maps, f"{name}/share": computed.prefix_share}
        if computed.parts is not None:
            tensors[f"{name}/parts"] = np.array(computed.parts, np.float32)
    return tensors, capture
