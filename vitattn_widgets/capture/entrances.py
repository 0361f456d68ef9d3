"""What enters the modules of a model on the way to an answer, and which module around a layer all of it passes.

The states that enter a module are a cut of the model if nothing reaches the answer past them. Autograd's graph says
whether they are one, so that the block of a layer need not be known: it is the innermost module that they cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .linearised import LinearisedForward
from .recorder import Forward


@dataclass(frozen=True, eq=False)
class State:
    """A tensor that enters a module, on its way through the graph.

    Attributes:
        owner: the tensor that the model passed; several modules may get the same.
        version: of the owner, which the model may change in place afterwards.
        entry: what this module alone uses of it, a node of the graph.
    """

    owner: Tensor
    version: int
    entry: Tensor

    def same(self, other: State) -> bool:
        """Whether another module got the same."""
        return self.owner is other.owner and self.version == other.version


@dataclass(eq=False)
class Entrance:
    """What enters a module.

    Attributes:
        states: the tensors that depend on the photo, and those that join them here.
        numbers: the whole numbers among the arguments; of pairs, both.
        constants: how many constants had been added to the model's states by then.
    """

    states: list[State]
    numbers: list[int]
    constants: int = 0


class Entrances:
    """Watches what enters the modules around a model's attention.

    Args:
        module: the model.
        around: for each attention module, the names of the modules that may be its block, from the inside out.
        mode: the linearised pass that is watched.
    """

    def __init__(self, module: nn.Module, around: Mapping[str, Sequence[str]], mode: LinearisedForward) -> None:
        self.mode = mode
        self.around = around
        names = dict.fromkeys(name for chain in around.values() for name in chain)
        self.modules: Mapping[str, nn.Module] = {name: module.get_submodule(name) for name in names}
        self.entered: dict[str, Entrance] = {}

    def enter(self, name: str, forward: Forward) -> Forward:
        """The ``forward`` of a module that notes what enters it (see `recorder.replaced_forward`)."""

        def entering(*args: Any, **kwargs: Any) -> Any:
            entrance = Entrance([], [])
            args = tuple(self._entry(value, entrance) for value in args)
            kwargs = {key: self._entry(value, entrance) for key, value in kwargs.items()}
            entrance.constants = len(self.mode.constants)
            self.entered[name] = entrance
            return forward(*args, **kwargs)

        return entering

    def block(self, layer: str, answer: Tensor, start: Tensor) -> str:
        """The name of a layer's block: the innermost module around it that all of the photo passes, else the outermost.

        Args:
            layer: name of an attention module.
            answer: what the model gives.
            start: the photo, a leaf of the graph.
        """
        *inner, outermost = (name for name in self.around[layer] if name in self.entered)
        return next((name for name in inner if not _bypassed(answer, start, self.states(name))), outermost)

    def states(self, name: str) -> list[State]:
        """What enters a module, and the same where a later module gets it unchanged (CaiT's patches)."""
        names = list(self.entered)
        own = self.entered[name].states
        later = [state for other in names[names.index(name) + 1 :] for state in self.entered[other].states]
        return [*own, *(state for state in later if any(map(state.same, own)))]

    def _entry(self, value: Any, entrance: Entrance) -> Any:
        """What a module gets in place of a state; anything else it gets as it is."""
        if isinstance(value, list | tuple):
            parts = [self._entry(part, entrance) for part in value]
            return parts if isinstance(value, list) else tuple(parts)
        if isinstance(value, int):
            entrance.numbers.append(value)
        states = entrance.states
        if not isinstance(value, Tensor) or value.ndim < 3:
            return value
        if not value.requires_grad:
            if not states or value.ndim != 3 or len(value) != 1 or value.shape[-1] != states[0].entry.shape[-1]:
                return value  # a bias of the scores or a mask
            value = self.mode.constant(value)  # a class token that joins here, beside the patches
        # a copy, as the model may change its own in place; the module, which may too, gets another
        states.append(State(value, value._version, value.clone()))
        return states[-1].entry.clone()


def modules_around(layer: str) -> list[str]:
    """The names of a module and of those that hold it, from the inside out, without the whole model."""
    parts = layer.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _bypassed(answer: Tensor, start: Tensor, states: Iterable[State]) -> bool:
    """Whether something reaches an answer from the start past all of these states."""
    seen: set[Any] = {state.entry.grad_fn for state in states}
    ahead: list[Any] = [answer.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", None) is start:
            return True
        ahead += [before for before, _ in node.next_functions]
    return False


def part_of(values: Tensor, gradient: Tensor | None) -> Tensor:
    """What each number of a tensor adds to the answer, float64 of its shape: itself times its gradient."""
    values = values.detach()
    return (torch.zeros_like(values) if gradient is None else values * gradient).to("cpu", torch.float64)
