"""Captures kept within a budget of bytes: one forward pass per model and photo, however many callers ask.

What a source needs beyond that, such as the gradients of a class, is computed once and kept with the capture.
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

    Safe to share between threads: captures with different models run side by side; on one model they take turns. Of
    several callers that request the same capture at the same time, one runs the model and the others wait for its
    result.

    Args:
        budget: bytes of captures to keep (`AttentionCapture.nbytes`). A capture larger than that is returned but not
            kept.
        finish: applied to every new capture before it is kept and returned.
    """

    def __init__(
        self, budget: int = DEFAULT_BUDGET, finish: Callable[[AttentionCapture], AttentionCapture] | None = None
    ) -> None:
        if budget < 0:
            raise SettingsError(f"a budget must be a number of bytes, 0 or more, got {budget}")
        self.budget = budget
        self._finish = finish
        self._kept: OrderedDict[_Key, AttentionCapture] = OrderedDict()
        self._running: dict[_Key, Future[AttentionCapture]] = {}
        self._lock = Lock()
        self._locks: WeakKeyDictionary[AttentionModel, RLock] = WeakKeyDictionary()

    @property
    def nbytes(self) -> int:
        """Bytes of the captures that are kept, at most `budget`."""
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
            key: names the photo; the same key must always mean the same pixels.
            picture: returns the photo; called only if its capture is not kept.
            settings: of the map to show; what their source needs is added to the capture and kept with it.

        Raises:
            PictureError: the photo cannot be read; nothing is kept.
            SettingsError: the settings name a class that the model does not have.
            ModelError: the settings' source needs gradients, which do not flow through the model.
        """
        capture = self._plain(model, key, picture)
        if settings is None or not needs_completion(capture, settings):
            return capture
        with self._completing(model):
            capture = self._plain(model, key, picture)
            if not needs_completion(capture, settings):  # another thread completed it in the meantime
                return capture
            completed = complete_capture(model, capture, settings)
            self.replace(model, key, capture, completed)
        return completed

    def replace(
        self, model: AttentionModel, key: Hashable, capture: AttentionCapture, completed: AttentionCapture
    ) -> None:
        """Keep a capture with additions in the place of the one that it was made from.

        Args:
            model: as in `get`.
            key: as in `get`.
            capture: from `get`. If it was dropped or replaced in the meantime, nothing happens.
            completed: the same capture with additions.
        """
        with self._lock:
            if completed is not capture and self._kept.get((model, key)) is capture:
                self._keep((model, key), completed)

    def _completing(self, model: AttentionModel) -> RLock:
        """The lock under which captures of a model are completed, one at a time."""
        with self._lock:
            return self._locks.setdefault(model, RLock())

    def _plain(self, model: AttentionModel, key: Hashable, picture: Callable[[], Picture]) -> AttentionCapture:
        """The capture as `finish` left it, or with what earlier settings added."""
        entry = (model, key)
        own: Future[AttentionCapture] = Future()
        with self._lock:
            if entry in self._kept:
                self._kept.move_to_end(entry)
                return self._kept[entry]
            running = self._running.setdefault(entry, own)
        # the model runs outside the lock; callers that find another's future wait for it
        if running is not own:
            return running.result()
        try:
            capture = capture_attention(model, picture(), answers=True)
            if self._finish is not None:
                capture = self._finish(capture)
        except BaseException as error:
            with self._lock:
                self._running.pop(entry, None)
            own.set_exception(error)
            raise
        with self._lock:
            # after clear() or discard(), nobody waits for the entry: it is returned but not kept
            if self._running.get(entry) is own:
                del self._running[entry]
                self._keep(entry, capture)
        own.set_result(capture)
        return capture

    def discard(self, key: Hashable) -> None:
        """Drop everything that is kept of one photo, for every model."""
        with self._lock:
            for entries in (self._kept, self._running):
                for entry in [entry for entry in entries if entry[1] == key]:
                    del entries[entry]

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()
            self._running.clear()

    def _keep(self, entry: _Key, capture: AttentionCapture) -> None:
        self._kept[entry] = capture
        while self._nbytes() > self.budget:
            # a capture that alone exceeds the budget goes first, or it would push out all others for nothing
            too_large = capture.nbytes > self.budget
            self._kept.popitem(last=too_large)

    def _nbytes(self) -> int:
        return sum(capture.nbytes for capture in self._kept.values())
