"""What was computed from a capture, kept beside it.

Captures are frozen values, and moving one control needs most of a picture again. So the last answers on each topic are
kept here, beside the capture and not inside it, for as long as the capture lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Answer = TypeVar("Answer")

# weak keys, compared by identity (captures have no `==`): the cache keeps no capture alive, and answers go with it
_answers: WeakKeyDictionary[object, dict[Hashable, tuple[tuple[Any, Any], ...]]] = WeakKeyDictionary()
_lock = Lock()


def remembered(capture: object, topic: Hashable, question: Any, compute: Callable[[], Answer], most: int = 1) -> Answer:
    """The answer to a question about a capture, computed unless it is among the last answers on its topic.

    May be called from several threads; two that ask the same question at once may both compute the answer.

    Args:
        capture: the subject, compared by identity.
        topic: what the question is about.
        question: compared with ``==``, so ``0``, ``0.0`` and ``False`` are the same question.
        compute: computes the answer, which must depend only on capture, topic and question, must not refer to the
            capture, and must not be changed afterwards.
        most: number of answers to keep on this topic; the least recently used are dropped.
    """
    with _lock:
        topics = _answers.setdefault(capture, {})
    # Outside the lock, so that a slow answer about one capture holds up no other. The pairs of a topic are one tuple,
    # read and replaced in one step: a thread sees matching pairs, though perhaps not another thread's newest.
    pairs = topics.get(topic, ())
    for place, (known, answer) in enumerate(pairs):
        if known == question:
            if place < len(pairs) - 1:
                topics[topic] = (*pairs[:place], *pairs[place + 1 :], pairs[place])
            return answer
    answer = compute()
    topics[topic] = (*topics.get(topic, ()), (question, answer))[-most:]
    return answer
