"""Building a model without drawing the random start of weights that are replaced at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RANDOM = frozenset(
    {
        Tensor.normal_,
        Tensor.uniform_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.uniform_,
    }
)
"""What fills a tensor with random values."""

ARITHMETIC = frozenset({Tensor.add_, Tensor.clamp_, Tensor.div_, Tensor.erfinv_, Tensor.mul_, Tensor.sub_})
"""What makes random values of random values."""

SETTING = frozenset({Tensor.copy_, Tensor.fill_, Tensor.zero_})
"""What replaces every value of a tensor."""


class NoRandomStart(TorchFunctionMode):
    """While this is entered, in this thread, tensors stay unset where they would be given random values.

    Drawing these takes longer than anything else in loading a model. `left_unset` says whether weights replaced them
    all; if they did not, the model must be built again without this.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unset: dict[int, Tensor] = {}  # by address, which nothing else can get as long as the tensor is held

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM:
            tensor = args[0] if args else kwargs["tensor"]
            self._unset[tensor.data_ptr()] = tensor
            return tensor
        if func in ARITHMETIC and args[0].data_ptr() in self._unset:
            return args[0]
        if func in SETTING:
            self._unset.pop(args[0].data_ptr(), None)
        return func(*args, **kwargs)

    def left_unset(self, module: nn.Module) -> bool:
        """Whether a parameter or buffer of a module, which was built in this mode, has no values."""
        return any(tensor.data_ptr() in self._unset for tensor in (*module.parameters(), *module.buffers()))
