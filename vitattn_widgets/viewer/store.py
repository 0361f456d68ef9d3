"""Captures kept for going back to, within a budget of bytes: one forward pass a model and photo, whoever asks.

What a source needs beyond that, as the gradients of a class, is worked out once and kept with the capture.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock, RLock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_attention
from ..errors import SettingsError
from ..images import Picture
from ..maps.completion import complete_capture, needs_completion

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from ..view.settings import ViewSettings

DEFAULT_BUDGET = 512 << 20
"""Bytes: about sixty captures of a tiny ViT at 224 px, or seventeen of a base one."""

_Key = tuple["AttentionModel", Hashable]


class CaptureStore:
    """Captures by model and photo; over the budget, the least recently used are dropped.

    May be shared between threads: captures of different photos run side by side, and of those who ask for the same one
    at the same time, one runs the model and the others wait for its result.

    Args:
        budget: bytes of captures to keep (`AttentionCapture.nbytes`). A capture larger than that is handed out but not
            kept.
        finish: what is done to every new capture before it is kept and handed out; None is nothing.
    """

    def __init__(
        self, budget: int = DEFAULT_BUDGET, finish: Callable[[AttentionCapture], AttentionCapture] | None = None
    ) -> None:
        if budget < 0:
            raise SettingsError(f"a budget must be a number of bytes from 0 on, got {budget}")
        self.budget = budget
        self._finish = finish
        self._kept: OrderedDict[_Key, AttentionCapture] = OrderedDict()
        self._running: dict[_Key, Future[AttentionCapture]] = {}
        self._lock = Lock()
        self._locks: WeakKeyDictionary[AttentionModel, RLock] = WeakKeyDictionary()

    @property
    def nbytes(self) -> int:
        """Bytes of the captures kept now, at most `budget`."""
        with self._lock:
            return self._nbytes()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: _Key) -> bool:
        return key in self._kept

    def get(
        self,
        model: AttentionModel,
        key: Hashable,
        picture: Callable[[], Picture],
        settings: ViewSettings | None = None,
    ) -> AttentionCapture:
        """The capture of a photo, from the store or by a forward pass.

        Args:
            model: from `load_model`.
            key: what names the photo; whoever uses the same key must mean the same pixels.
            picture: gives the photo; called only where its capture is not kept.
            settings: what is to be shown; what their source needs is added to the capture, and kept with it.

        Raises:
            PictureError: the photo cannot be read. Nothing is kept then.
            SettingsError: the settings ask for a class that the model does not have.
            ModelError: no gradient flows through the model, which the settings' source needs.
        """
        capture = self._plain(model, key, picture)
        if settings is None or not needs_completion(capture, settings):
            return capture
        with self._completing(model):
            capture = self._plain(model, key, picture)
            if not needs_completion(capture, settings):  # somebody else completed it in the meantime
                return capture
            completed = complete_capture(model, capture, settings)
            with self._lock:
                if completed is not capture and self._kept.get((model, key)) is capture:
                    self._keep((model, key), completed)
        return completed

    def _completing(self, model: AttentionModel) -> RLock:
        """The lock that lets one capture of a model be completed at a time."""
        with self._lock:
            return self._locks.setdefault(model, RLock())

    def _plain(self, model: AttentionModel, key: Hashable, picture: Callable[[], Picture]) -> AttentionCapture:
        entry = (model, key)
        with self._lock:
            if entry in self._kept:
                self._kept.move_to_end(entry)
                return self._kept[entry]
            running = self._running.get(entry)
            mine = running is None
            if mine:
                running = self._running[entry] = Future()
        if not mine:
            return running.result()
        try:
            capture = capture_attention(model, picture())
            if self._finish is not None:
                capture = self._finish(capture)
        except BaseException as error:
            with self._lock:
                self._running.pop(entry, None)
            running.set_exception(error)
            raise
        with self._lock:
            # after a clear() the entry is no longer expected, so it is handed out but not kept
            if self._running.get(entry) is running:
                del self._running[entry]
                self._keep(entry, capture)
        running.set_result(capture)
        return capture

    def discard(self, key: Hashable) -> None:
        """Drop what is kept of one photo, whatever the model."""
        with self._lock:
            for kept in (self._kept, self._running):
                for entry in [entry for entry in kept if entry[1] == key]:
                    del kept[entry]

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()
            self._running.clear()

    def _keep(self, entry: _Key, capture: AttentionCapture) -> None:
        self._kept[entry] = capture
        while self._nbytes() > self.budget:
            # the newest goes first where it alone is over the budget, else it would push out all others for nothing
            alone = capture.nbytes > self.budget
            self._kept.popitem(last=alone)

    def _nbytes(self) -> int:
        return sum(capture.nbytes for capture in self._kept.values())
