"""Checks of maps for a page: one at a time on the cores that short requests leave, each map's only once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

from ..capture.capture import AttentionCapture
from ..evaluation.checks import check_map
from ..maps.resolve import resolve
from ..maps.settings import LEFT_OUT
from ..models.loading import AttentionModel
from ..view.settings import ViewSettings

MAX_CHECKS = 100
"""Results of checks that are kept."""


class Checks:
    """The checks of one page, and their results. May be shared between threads."""

    def __init__(self) -> None:
        self._results: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._running = Lock()
        self._short = 0  # requests that have a core of their own
        self._counting = Lock()

    def __len__(self) -> int:
        return len(self._results)

    def check(
        self, model: AttentionModel, key: str, capture: AttentionCapture, settings: ViewSettings
    ) -> dict[str, Any]:
        """Check a map, or give the result of an equal one.

        Args:
            model: the capture's model.
            key: of the photo.
            capture: of the photo, completed for the settings.
            settings: of the map.

        Returns:
            `MapCheck.as_json`.

        Raises:
            VitattnError: the capture does not have the map, or the model has no classifier.
        """
        resolved = resolve(capture, settings)
        left_out = resolved.sinks in LEFT_OUT  # all that the treatment of sinks changes in the map itself
        entry = (model, key, replace(resolved, sinks=""), left_out, settings.target)
        with self._running:
            if entry not in self._results:
                self._results[entry] = check_map(model, capture, settings, workers=self.free_cores).as_json()
                if len(self._results) > MAX_CHECKS:
                    del self._results[next(iter(self._results))]
            return self._results[entry]

    def forget(self, key: str) -> None:
        """Drop the results of a photo."""
        for entry in [entry for entry in list(self._results) if entry[1] == key]:
            self._results.pop(entry, None)

    def clear(self) -> None:
        """Drop all results."""
        self._results.clear()

    @contextmanager
    def stepping_aside(self) -> Iterator[None]:
        """While a request that takes a moment is answered: a check leaves it a core."""
        with self._counting:
            self._short += 1
        try:
            yield
        finally:
            with self._counting:
                self._short -= 1

    def free_cores(self) -> int:
        """How many passes of a check may run side by side now."""
        return max(1, (os.cpu_count() or 1) - self._short)
