"""Dividing photos into train, validation and test: at random, class by class, copies of one photo together."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from .photos import SPLITS

SHARES = (0.7, 0.15, 0.15)
"""The share of the photos in each of `SPLITS`."""


def split_photos(
    labels: tuple[int, ...],
    groups: np.ndarray,
    seed: int,
    held_out: frozenset[int] = frozenset(),
    shares: tuple[float, float, float] = SHARES,
) -> tuple[tuple[int, ...], ...]:
    """Divide photos so that every class is split in the same proportions and no group is in two splits.

    Each class gives its groups, the larger ones first, to the split that lacks the most photos of the class and of all
    classes so far, so that classes of one or two photos leave no split empty. (scikit-learn's StratifiedGroupKFold
    needs as many photos per class as there are folds.)

    Args:
        labels: one per photo.
        groups: int64 ``(photos,)``: copies of one photo have the same number.
        seed: another one gives another split.
        held_out: photos that are already the test split; the others become train and validation.
        shares: of the photos in each of `SPLITS`; they add up to 1.

    Returns:
        Numbers of the photos of each split, in the order of `SPLITS`.
    """
    wanted = np.array(shares) if not held_out else np.array([shares[0] + shares[2], shares[1], 0.0])
    rng = np.random.default_rng([seed, 20231])
    split_of = np.full(len(labels), SPLITS.index("test"))
    not_held_out = np.array([number not in held_out for number in range(len(labels))], bool)
    # copies of a held-out photo are dropped: in training they would give the test away
    dropped = not_held_out & np.isin(groups, groups[~not_held_out])
    free = not_held_out & ~dropped
    lacking_overall = np.zeros(len(SPLITS))
    numbers, all_labels = np.flatnonzero(free), np.asarray(labels)
    for label in sorted(set(labels)):
        members = numbers[all_labels[numbers] == label]
        parts = [members[groups[members] == group] for group in np.unique(groups[members])]
        # random order first: the sort is stable, so that groups of one size stay shuffled
        parts = sorted((parts[index] for index in rng.permutation(len(parts))), key=len, reverse=True)
        lacking = wanted * len(members)
        lacking_overall += lacking
        for part in parts:
            best = int(np.argmax(lacking + lacking_overall))
            split_of[part] = best
            lacking[best] -= len(part)
            lacking_overall[best] -= len(part)
    return tuple(tuple(np.flatnonzero((split_of == split) & ~dropped).tolist()) for split in range(len(SPLITS)))


def fingerprint(class_names: tuple[str, ...], splits: dict[str, tuple[tuple[str, ...], tuple[int, ...]]]) -> str:
    """SHA-256 in hex over classes, names, labels and split.

    Args:
        class_names: one per label.
        splits: names and labels of each split.
    """
    text = json.dumps([class_names, sorted(splits.items())], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
