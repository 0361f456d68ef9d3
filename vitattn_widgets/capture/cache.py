"""The one place that remembers what was computed from a capture.

Captures are frozen values, and moving one control needs most of a picture again. So the last answer on each topic is
kept here, beside the capture and not inside it, for as long as the capture lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Answer = TypeVar("Answer")

# weak keys, compared by identity (captures have no `==`): the cache keeps no capture alive, and answers go with it
_answers: WeakKeyDictionary[object, dict[Hashable, tuple[Any, Any]]] = WeakKeyDictionary()
_lock = Lock()


def remembered(capture: object, topic: Hashable, question: Any, work_out: Callable[[], Answer]) -> Answer:
    """The answer to a question about a capture: the last one on its topic, if that was to the same question.

    May be called from several threads; two that ask the same question at once may both compute the answer.

    Args:
        capture: the subject, compared by identity.
        topic: one answer is kept per topic.
        question: compared with ``==``, so ``0``, ``0.0`` and ``False`` are the same question.
        work_out: computes the answer, which must depend only on capture, topic and question, must not refer to the
            capture, and must not be changed afterwards.
    """
    with _lock:
        topics = _answers.setdefault(capture, {})
    # Outside the lock, so that a slow answer about one capture holds up no other. Question and answer are one tuple,
    # read and replaced in one step: a thread sees a matching pair or none.
    last = topics.get(topic)
    if last is not None and last[0] == question:
        return last[1]
    answer = work_out()
    topics[topic] = (question, answer)
    return answer
