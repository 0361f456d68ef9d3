"""The one place that remembers what was worked out of a capture.

Captures are frozen values, and moving one control asks for most of a picture again. So the last answer on each topic is
kept here, beside the capture and not inside it, for as long as the capture lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Answer = TypeVar("Answer")

_answers: WeakKeyDictionary[object, dict[Hashable, tuple[Any, Any]]] = WeakKeyDictionary()
_lock = Lock()


def remembered(capture: object, topic: Hashable, question: Any, work_out: Callable[[], Answer]) -> Answer:
    """The answer to a question about a capture: the last one on this topic if it was to the same question.

    May be called from several threads; two that ask for the same at the same time may both work it out.

    Args:
        capture: what is asked about, compared by identity.
        topic: one answer is kept per topic.
        question: compared with ``==``, so ``0``, ``0.0`` and ``False`` are the same question.
        work_out: gives the answer, which must depend on nothing but capture, topic and question and is not to be
            changed afterwards.
    """
    with _lock:
        topics = _answers.setdefault(capture, {})
    last = topics.get(topic)
    if last is not None and last[0] == question:
        return last[1]
    answer = work_out()
    topics[topic] = (question, answer)
    return answer
