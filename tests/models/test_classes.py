"""Classes by number, name or part of a name; anything else is reported with the possible classes."""

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.models.classes import find_class, likely_classes

NAMES = ("tabby", "tiger cat", "Persian cat", "Egyptian cat", "tiger", "ermine")


@pytest.mark.parametrize(
    ("wanted", "index"),
    [(2, 2), ("2", 2), ("tabby", 0), ("TABBY", 0), ("persian", 2), (" egypt", 3), ("tiger", 4), ("tiger c", 1)],
)
def test_a_class_is_found(wanted, index):
    assert find_class(NAMES, wanted) == index


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("cat", r"matches several classes: tiger cat \(1\), Persian cat \(2\), Egyptian cat \(3\); give the number"),
        ("er", r"several classes: ermine \(5\), tiger cat \(1\), Persian cat \(2\), tiger \(4\)"),
        ("tabbi", "there is no class 'tabbi'; near names: tabby"),
        ("xyzzy", "there is no class 'xyzzy', nor one with a similar name; this model has tabby, tiger cat"),
        ("6", r"class 6 does not exist; this model has classes 0\.\.5"),
        ("", "there is no class"),
    ],
)
def test_what_is_no_class_is_reported(wanted, words):
    with pytest.raises(va.errors.SettingsError, match=words):
        find_class(NAMES, wanted)


def test_a_model_without_a_classifier_has_none():
    with pytest.raises(va.errors.SettingsError, match="has no classifier"):
        find_class((), "tabby")


def test_the_likely_classes_come_in_their_order_and_equal_ones_by_number():
    probabilities = np.array([0.1, 0.3, 0.1, 0.4, 0.1], np.float32)
    assert likely_classes(probabilities) == [3, 1, 0, 2, 4]
    assert likely_classes(probabilities, 3) == [3, 1, 0]
    assert likely_classes(np.zeros(0, np.float32)) == []
