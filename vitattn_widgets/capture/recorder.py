"""One watched forward pass: the only place that touches a model while it runs.

The model runs as it is, fused attention included. Around each attention module's ``forward``, a torch function mode
sees the calls made there. It is active in the capturing thread alone, and everything is restored when the pass ends or
fails.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..models.tracing import logits_of
from .sites import Call, SiteCalls

MATMULS = frozenset({torch.matmul, Tensor.matmul, Tensor.__matmul__})

SOFTMAXES = frozenset({torch.softmax, Tensor.softmax, F.softmax})

_WATCHED = MATMULS | SOFTMAXES | {F.scaled_dot_product_attention}

Forward = Callable[..., Any]

# one lock per model, dropped with the model; the guard is there because the dictionary's `setdefault` is not atomic
_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()

_locks_guard = threading.Lock()


class _SiteWatch(TorchFunctionMode):
    """Collects the attention calls made while it is active; `take` returns them and starts a new collection."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = SiteCalls([], [], [])

    def take(self) -> SiteCalls:
        calls, self.calls = self.calls, SiteCalls([], [], [])
        return calls

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # torch turns the mode off in here, so what `func` calls in turn is not collected
        result = func(*args, **kwargs) if kwargs else func(*args)
        if func in _WATCHED:
            self._keep(func, result, args, kwargs or {})
        return result

    def _keep(self, func: Callable[..., Any], result: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if func is F.scaled_dot_product_attention:
            self.calls.fused.append(_fused_call(result, *args, **kwargs))
        elif func in SOFTMAXES:
            self.calls.softmaxes.append(Call(args[:1], result))
        elif result.ndim >= 3:  # batch head ...: products of weights have fewer axes
            self.calls.matmuls.append(Call(args[:2], result))


def _fused_call(
    result: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 these are the parameters of scaled_dot_product_attention
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Call:
    return Call((query, key, value), result, attn_mask, scale, is_causal, enable_gqa)


def model_lock(module: nn.Module) -> threading.RLock:
    """The lock under which one pass at a time runs on a model.

    Reentrant: callers that prepare a model for a pass hold it around `watched_forward`, which acquires it as well.
    """
    with _locks_guard:
        return _locks.setdefault(module, threading.RLock())


def watched_forward(
    module: nn.Module,
    parts: Sequence[nn.Module],
    sites: Mapping[str, nn.Module],
    tensor: Tensor,
    on_site: Callable[[str, SiteCalls], None],
    gradients: bool = False,
) -> Tensor:
    """Run a model once in eval mode and report what each attention module called.

    Afterwards, also after an error, the model is unchanged: train mode of every part, fused flags, ``forward``.

    Args:
        module: the model.
        parts: every module of the model, itself included.
        sites: its attention modules by name (`families.attention_sites`).
        tensor: input ``(batch, channels, height, width)``, on the model's device.
        on_site: called right after each site ran, in the order of the forward pass.
        gradients: record the pass for autograd, whatever mode the caller is in; otherwise it runs in inference mode.

    Returns:
        The model's output.
    """
    # Left in reverse order: `forward` is restored first, the lock released last, so that the next capture finds the
    # model as its owner left it. `inference_mode(False)` and `set_grad_enabled(True)` override what the caller has set.
    with (
        model_lock(module),
        torch.inference_mode(not gradients),
        torch.set_grad_enabled(gradients),
        _eval_mode(parts),
        _watched(sites, on_site),
    ):
        logits: Tensor = logits_of(module(tensor))
        return logits


def plain_forwards(module: nn.Module, parts: Sequence[nn.Module], batches: Sequence[Tensor]) -> list[Tensor]:
    """Run a model on several batches at the same time, each in a thread of its own, without watching it.

    Afterwards, also after an error, the model is unchanged, as after `watched_forward`.

    Args:
        module: the model.
        parts: every module of the model, itself included.
        batches: inputs ``(batch, channels, height, width)``, on the model's device.

    Returns:
        The model's output for each batch.
    """

    def run(batch: Tensor) -> Tensor:
        with torch.inference_mode():  # of the thread that it is called in
            logits: Tensor = logits_of(module(batch))
            return logits

    with model_lock(module), _eval_mode(parts):
        if len(batches) == 1:
            return [run(batches[0])]
        with ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(run, batches))


@contextmanager
def _eval_mode(parts: Sequence[nn.Module]) -> Iterator[None]:
    # part by part: users freeze some parts in eval mode, which `module.train()` would undo afterwards
    training = [part for part in parts if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def _watched(sites: Mapping[str, nn.Module], on_site: Callable[[str, SiteCalls], None]) -> Iterator[None]:
    site_watch = _SiteWatch()

    def watch(name: str, forward: Forward) -> Forward:
        def watched(*args: Any, **kwargs: Any) -> Any:
            with site_watch:  # around attention alone: every torch call passes through the mode, which takes time
                output = forward(*args, **kwargs)
            on_site(name, site_watch.take())
            return output

        return watched

    with _fused(sites.values()), replaced_forward(sites, watch):
        yield


@contextmanager
def _fused(sites: Iterable[nn.Module]) -> Iterator[None]:
    """Make modules that were built with fused attention off take their fused path."""
    off = [vars(site) for site in sites if vars(site).get("fused_attn") is False]
    try:
        for state in off:
            state["fused_attn"] = True
        yield
    finally:
        for state in off:
            state["fused_attn"] = False


@contextmanager
def replaced_forward(sites: Mapping[str, nn.Module], change: Callable[[str, Forward], Forward]) -> Iterator[None]:
    """Replace the ``forward`` of some modules for the calling thread, and restore it, also after an error.

    Other threads that run the model meanwhile use its own ``forward``. May be nested; the caller holds `model_lock`.

    Args:
        sites: the modules, by name.
        change: returns, for the name and the ``forward`` of a module, what is called in its place.
    """
    owner = threading.get_ident()
    saved: list[tuple[dict[str, Any], Any]] = []

    def own(forward: Forward, changed: Forward) -> Forward:
        return lambda *args, **kwargs: (changed if threading.get_ident() == owner else forward)(*args, **kwargs)

    try:
        for name, site in sites.items():
            # An instance's own attribute hides the class's method; if it had one already, that one is restored. Noted
            # before it is replaced, so that an error in between restores exactly what was replaced.
            saved.append((vars(site), vars(site).get("forward")))
            vars(site)["forward"] = own(site.forward, change(name, site.forward))
        yield
    finally:
        # last replaced, first restored: of a module that is listed twice, the first note holds its own `forward`
        for state, forward in reversed(saved):
            if forward is None:
                state.pop("forward", None)
            else:
                state["forward"] = forward
