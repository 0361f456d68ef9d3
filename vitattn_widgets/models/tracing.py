"""A forward pass of shapes alone: where a model with stages attends, and what each of its layers can reach.

The model is copied without its weights and run on torch's meta device, which computes shapes and nothing else. So the
geometry of every layer is known before any photo, and the model itself is not touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .partitions import Grid, Partition

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """What a forward pass of shapes shows.

    Attributes:
        partitions: of each attention layer, by name, in the order of the forward pass.
        classes: number of values that the model gives for a photo, if they are one row; else 0.
    """

    partitions: Mapping[str, Partition]
    classes: int


@dataclass(frozen=True)
class SiteCall:
    """One call of an attention module in the forward pass of shapes.

    Attributes:
        root: the whole model.
        name: qualified name of the module.
        inputs: the latest inputs of each module that ran, by name: a shape for each tensor, other values as they are.
        shapes: the results with four axes so far, in order.
    """

    root: nn.Module
    name: str
    inputs: Mapping[str, tuple[Any, ...]]
    shapes: tuple[Shape, ...]

    @property
    def site(self) -> Any:  # timm's attention modules have no type in common
        """The attention module."""
        return self.root.get_submodule(self.name)

    @property
    def args(self) -> tuple[Any, ...]:
        """The inputs of the attention module."""
        return self.inputs[self.name]

    @property
    def model(self) -> Any:
        """The timm model that holds the attention module; the whole one if none of timm's does."""
        parts = self.name.split(".")
        around = (self.root.get_submodule(".".join(parts[:count])) for count in range(len(parts)))
        return next((part for part in around if hasattr(part, "forward_features")), self.root)

    def around(self, levels: int = 1) -> tuple[Any, tuple[Any, ...]]:
        """The module that holds this one, so many levels up, and its inputs."""
        name = self.name.rsplit(".", levels)[0]
        return self.root.get_submodule(name), self.inputs[name]

    def grid(self, tokens: int, prefix: int = 0) -> Grid:
        """The grid of a sequence of tokens: that of the latest result of this size.

        Raises:
            ModelError: no result has this size.
        """
        for shape in reversed(self.shapes):
            for rows, cols in (shape[2:4], shape[1:3]):
                if rows * cols == tokens - prefix:
                    return rows, cols
        raise ModelError(f"{self.name} attends over {tokens} tokens, which lie on no grid that this kit can see")


def trace(
    module: nn.Module, size: tuple[int, int], partition_of: Callable[[nn.Module], Callable[[SiteCall], Any] | None]
) -> Trace:
    """Run a model on shapes alone.

    Args:
        module: the model, on any device.
        size: height and width of its input.
        partition_of: for a module, what gives its `Partition` in a call, or None if it is no attention layer. That may
            give None too, for a layer whose attention is not between patches.

    Raises:
        ModelError: the forward pass of shapes fails.
    """
    model = _without_weights(module)
    names = {part: name for name, part in model.named_modules()}
    inputs: dict[str, tuple[Any, ...]] = {}
    shapes: list[Shape] = []
    partitions: dict[str, Partition] = {}

    def before(part: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        inputs[names[part]] = tuple(_shaped(value) for value in (*args, *kwargs.values()))

    def after(part: nn.Module, _: object, output: Any) -> None:
        find = partition_of(part)
        if find is not None:
            partition = find(SiteCall(model, names[part], inputs, tuple(shapes)))
            if partition is not None:
                partitions[names[part]] = partition
        parts = output if isinstance(output, tuple | list) else (output,)
        shapes.extend(tuple(one.shape) for one in parts if isinstance(one, Tensor) and one.ndim == 4)

    for part in names:
        part.register_forward_pre_hook(before, with_kwargs=True)
        part.register_forward_hook(after)
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    try:
        with torch.no_grad():
            output = logits_of(model(torch.empty(1, 3, *size, device="meta", dtype=dtype)))
    except ModelError:
        raise
    except Exception as error:  # timm's own checks of sizes, and whatever a model's code raises
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{type(module).__name__} does not run on an input of {size[0]} x {size[1]} ({reason})"
        ) from error
    row = isinstance(output, Tensor) and output.ndim == 2
    return Trace(partitions, output.shape[1] if row else 0)


def logits_of(output: Any) -> Any:
    """The logits in what a model returns: its own result, or the part of that name, as in Hugging Face's models."""
    return getattr(output, "logits", output)


def _shaped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return tuple(_shaped(part) for part in value) if isinstance(value, tuple | list) else value


def _without_weights(module: nn.Module) -> nn.Module:
    """A copy of a model in which every tensor is on the meta device; nothing of the model's memory is copied."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None:
                memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for value in (*part._buffers.values(), *vars(part).values()):
            if isinstance(value, Tensor):
                memo[id(value)] = torch.empty_like(value, device="meta")
    model = copy.deepcopy(module, memo)
    for part in model.modules():  # what a user attached to the model must not see this pass
        for hooks in (part._forward_hooks, part._forward_pre_hooks):
            hooks.clear()
        vars(part).pop("forward", None)
    return model.eval()


def prefix_names(body: nn.Module) -> tuple[str, ...]:
    """The tokens of a model before its patches, by name, in timm's order."""
    holder = body.embeds if hasattr(body, "embeds") else body
    names = []
    class_token = getattr(holder, "cls_token", getattr(holder, "cls_token_0", None))  # CrossViT has one per branch
    if class_token is not None:
        names.append("class")
        if class_token.ndim == 3 and class_token.shape[1] == 2:  # PiT keeps both of its tokens in one tensor
            names.append("dist")
    if getattr(holder, "dist_token", None) is not None:
        names.append("dist")
    registers = getattr(holder, "reg_token", None)
    if registers is not None:
        names += [f"reg{i}" for i in range(registers.shape[1])]
    return tuple(names)
