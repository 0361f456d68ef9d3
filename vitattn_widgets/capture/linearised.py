"""A forward pass that autograd sees as linear: what the model multiplied by is held constant, for this photo.

Attention weights, the normalisers of normalisations and the gates of activations (``gelu(x) / x``) depend on the photo.
Held constant, the rest of a transformer is linear, so gradient times activation says exactly what each part adds to the
answer: conservative propagation (Ali et al. 2022, "XAI for Transformers: Better Explanations through Conservative
Propagation", ICML; Achtibat et al. 2024, "AttnLRP", arXiv:2402.05602). The values of the pass do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .recorder import SOFTMAXES

_GATED = frozenset(
    {
        F.gelu,
        F.silu,
        F.mish,
        F.hardswish,
        F.relu6,
        F.hardtanh,
        F.elu,
        F.celu,
        F.selu,
        F.leaky_relu,
        torch.square,
        torch.tanh,
        Tensor.tanh,
    }
)
"""Activations with ``f(0) = 0``: each is its input times a gate."""

_CONSTANT = SOFTMAXES | {
    torch.sigmoid,
    Tensor.sigmoid,
    Tensor.sigmoid_,
    F.sigmoid,
    F.hardsigmoid,
    torch.rsqrt,
    Tensor.rsqrt,
    torch.exp,
    Tensor.exp,
}
"""Functions whose result only ever multiplies: weights, gates and normalisers."""

_PRODUCTS = frozenset(
    {torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.mul_, Tensor.__imul__}
)

_QUOTIENTS = frozenset({torch.div, Tensor.div, Tensor.div_, Tensor.__truediv__, Tensor.__itruediv__})

_SUMS = frozenset(
    {
        torch.add,
        torch.sub,
        Tensor.add,
        Tensor.sub,
        Tensor.add_,
        Tensor.sub_,
        Tensor.__add__,
        Tensor.__radd__,
        Tensor.__iadd__,
        Tensor.__sub__,
        Tensor.__rsub__,
        Tensor.__isub__,
    }
)

_POWERS = frozenset({torch.pow, Tensor.pow, Tensor.__pow__})

_WEIGHTED = frozenset({F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d})
"""Functions of an input, a weight and a bias."""

_JOINS = frozenset({torch.cat, torch.concat, torch.concatenate})

_TINY = 1e-6
"""Below this size an activation's input is taken for this, as ``f(0) / 0`` has no value."""


class LinearisedForward(TorchFunctionMode):
    """Under this mode, autograd differentiates the linear function that a model is for one photo.

    A product of two parts that both depend on the photo (SwiGLU) is divided between them, one half each. What enters
    from outside the photo (biases, position embeddings, a class token joined late) is kept in `constants`, so that its
    part can be counted.

    Attributes:
        constants: every constant that was added, as a leaf of the graph, in the order of the pass.
        values: of every fused attention, ``(batch, head, key, width)``, one head of values for each of its heads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.constants: list[Tensor] = []
        self.values: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # parameters are no part of the graph: what is computed from them alone is a constant then
        args = tuple(_outside(value) for value in args)
        kwargs = {name: _outside(value) for name, value in (kwargs or {}).items()}
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if func in _CONSTANT:
            return func(*args, **kwargs).detach()
        if func in _GATED or (func in _POWERS and isinstance(args[1], int | float) and args[1] >= 1):
            return _gated(func, *args, **kwargs)
        if func is F.layer_norm:
            return self._layer_norm(*args, **kwargs)
        if func is F.rms_norm:
            return _linear_rms_norm(*args, **kwargs)
        if func is F.group_norm:
            return self._group_norm(*args, **kwargs)
        if func is F.batch_norm and _depends(args[0]):  # some models standardise their weights with it
            return self._batch_norm(*args, **kwargs)
        if func in _WEIGHTED:
            return self._weighted(func, *args, **kwargs)
        if func in _PRODUCTS and len(args) == 2 and all(map(_depends, args)):
            one, other = args
            return (one * other.detach() + one.detach() * other) / 2
        if func in _QUOTIENTS and len(args) == 2 and _depends(args[1]):
            return func(args[0], args[1].detach(), **kwargs)
        if func in _SUMS and len(args) == 2 and any(map(_depends, args)):
            return func(*map(self.constant, args), **kwargs)
        if func in _JOINS and any(map(_depends, args[0])):
            parts = [self.join(part) if _is_constant(part) else part for part in args[0]]
            return func(parts, *args[1:], **kwargs)
        return func(*args, **kwargs)

    def constant(self, value: Any) -> Any:
        """A tensor that does not depend on the photo as a leaf of the graph; anything else as it is."""
        return self.add(value) if _is_constant(value) else value

    def add(self, constant: Tensor) -> Tensor:
        """Keep a constant that is added; returns it as a leaf of the graph."""
        self.constants.append(constant.detach().clone().requires_grad_())
        return self.constants[-1]

    def join(self, tokens: Tensor) -> Tensor:
        """Keep tokens that join others and do not depend on the photo; returns them as a leaf of the graph."""
        return self.add(tokens)

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        groups = query.shape[-3] // value.shape[-3]
        if groups > 1:  # grouped queries: each gets values of its own, to tell the heads apart
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
            kwargs.pop("enable_gqa", None)
        self.values.append(value)
        # a mask too can depend on the photo: biases by position that are multiplied by the queries
        rest: list[Any] = [one.detach() if isinstance(one, Tensor) else one for one in args]
        named: dict[str, Any] = {name: one.detach() if isinstance(one, Tensor) else one for name, one in kwargs.items()}
        return F.scaled_dot_product_attention(query.detach(), key.detach(), value, *rest, **named)

    def _weighted(
        self,
        func: Callable[..., Tensor],
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        if bias is not None and _depends(input):
            bias = self.constant(bias)
        return func(input, weight, bias, *args, **kwargs)

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,  # noqa: ARG002 the model runs in eval mode
        momentum: float = 0.1,  # noqa: ARG002
        eps: float = 1e-5,
    ) -> Tensor:
        scale = (running_var + eps).rsqrt()
        scale = scale if weight is None else scale * weight
        offset = -running_mean * scale
        offset = offset if bias is None else offset + bias
        shape = (-1, *[1] * (input.ndim - 2))
        return self._shifted(input * scale.reshape(shape), offset.reshape(shape))

    def _layer_norm(
        self,
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        return self._shifted(_linear_layer_norm(input, normalized_shape, weight, eps), bias)

    def _group_norm(
        self,
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        groups = input.reshape(input.shape[0], num_groups, -1)
        values = _linear_layer_norm(groups, groups.shape[-1:], None, eps).reshape(input.shape)
        shape = (-1, *[1] * (input.ndim - 2))
        values = values if weight is None else values * weight.reshape(shape)
        return self._shifted(values, None if bias is None else bias.reshape(shape))

    def _shifted(self, values: Tensor, bias: Tensor | None) -> Tensor:
        return values if bias is None else values + (self.constant(bias) if _depends(values) else bias)


def _outside(value: Any) -> Any:
    if isinstance(value, list | tuple) and any(isinstance(part, nn.Parameter) for part in value):
        return [_outside(part) for part in value]
    return value.detach() if isinstance(value, nn.Parameter) else value


def _is_constant(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.requires_grad and value.is_floating_point()


def _depends(value: Any) -> bool:
    """Whether a value depends on the photo."""
    return isinstance(value, Tensor) and value.requires_grad


def _gated(func: Callable[..., Any], input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    with torch.no_grad():
        kwargs.pop("inplace", None)
        safe = torch.where(input.abs() < _TINY, _TINY, input)
        gate = func(safe, *args, **kwargs) / safe
    return input * gate


def _linear_layer_norm(input: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Layer norm without its bias, linear: its normaliser is a constant, its mean is not."""
    axes = tuple(range(-len(shape), 0))
    centred = input - input.mean(axes, keepdim=True)
    values = centred * _normaliser(centred, axes, eps)
    return values if weight is None else values * weight


def _linear_rms_norm(
    input: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """RMS norm, linear: its normaliser is a constant."""
    axes = tuple(range(-len(shape), 0))
    values = input * _normaliser(input, axes, torch.finfo(input.dtype).eps if eps is None else eps)
    return values if weight is None else values * weight


def _normaliser(values: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """1 / sqrt(mean square) over some axes, a constant; the squares of half precision would overflow."""
    wide = values.detach().to(torch.promote_types(values.dtype, torch.float32))
    return (wide.square().mean(axes, keepdim=True) + eps).rsqrt().to(values.dtype)
