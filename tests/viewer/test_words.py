"""The engine's words: numbers and code as Python writes them, file names, and the search for a class."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.models.classes import likely_classes
from vitattn_widgets.view.encode import file_name
from vitattn_widgets.viewer.assets import bundle
from vitattn_widgets.viewer.settings import json_settings

from ..lab import CHROMIUM, running_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

Words = Callable[..., Any]

CATS = ["oystercatcher", "tabby cat", "catamaran", "Egyptian cat", "cat", "polecat", "dog", "cat, big_(n02123045)"]


@pytest.fixture(scope="module")
def words() -> Iterator[Words]:
    with running_browser() as browser:
        page = browser.new_page()
        page.add_script_tag(content=bundle(Path(__file__).parent / "words_page.js", keep_exports=False))
        yield lambda function, *arguments: page.evaluate(
            "([name, all]) => words[name](...all)", [function, list(arguments)]
        )


def test_numbers_are_written_as_python_writes_them(words: Words) -> None:
    chance = random.Random(0)
    ties = [number / 2**power for power in range(11) for number in range(120)]
    others = [chance.random() * 10 ** chance.randint(-9, 5) for _ in range(4000)]
    short = [chance.randint(1, 10**5) / chance.choice([8, 20, 1000]) for _ in range(4000)]
    values = [*ties, *others, *short, 999.5, 9.995, 1e-4, 0.00012345, 1e15]
    expected = [[f"{one:.2f}", f"{one:.1%}", f"{one:.0%}", f"{one:.3g}", repr(one)] for one in values]
    assert words("forms", values) == expected
    below = [-one for one in values if one]  # JavaScript has no sign for a zero
    assert [form[:4] for form in words("forms", below)] == [
        [f"{one:.2f}", f"{one:.1%}", f"{one:.0%}", f"{one:.3g}"] for one in below
    ]


def test_values_are_written_as_python_code(words: Words) -> None:
    texts = ["a'b", 'a"b', "a'\"b", "C:\\x", "\n\r\t\x00\x7f\x85\xa0", "é日\u200b\u2028\ufeff\U0001f600\U000e0001"]
    assert words("codes", [*texts, 3, -1, None, True, False]) == [*map(repr, texts), "3", "-1", "None", "True", "False"]
    assert words("codes", [[3, 4]]) == ["(3, 4)"]


def test_sums_are_rounded_as_numpy_rounds_them(words: Words) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.random(count, np.float32) ** 3 for count in [*range(1, 40), 127, 128, 129, 196, 300, 1369, 2001]]
    assert words("sums", [row.tolist() for row in rows]) == [float(row.sum()) for row in rows]


def test_fields_are_filled_in_once(words: Words) -> None:
    assert words("fillIn", "{query} for {target}", {"query": "{target}", "target": "$& $1"}) == "{target} for $& $1"


def test_file_names_are_pythons(words: Words) -> None:
    chance = random.Random(0)
    names = ["cat.jpg", "a/b/zwölf Äpfel.tar.gz", ".hidden", "dot.", "no suffix", "日本 (1).png", "e\u0301.jpg", ""]
    models = ["vit_tiny.augreg", "vit (my weights/a.pt)"]
    cases, expected = [], []
    for picture in names:
        for _ in range(20):
            settings = va.ViewSettings(
                layer=chance.randrange(-3, 3),
                head=chance.choice([None, 2]),
                aggregation=chance.choice(["mean", "max"]),
                source=chance.choice(va.SOURCES),
                target=chance.choice([None, 7]),
            )
            model, source = chance.choice(models), settings.source_info
            facts = {name: getattr(source, name) for name in ("plain", "no_class", "no_head", "aggregations")}
            cases.append([facts, json_settings(settings), picture, model])
            expected.append(file_name(picture, model, settings))
    assert words("fileNames", cases) == expected


def test_likely_classes_are_pythons(words: Words) -> None:
    probabilities = np.random.default_rng(0).integers(0, 5, 30).astype(np.float32) / 64  # many ties
    for count in (1, 10, 40):
        assert words("likely", probabilities.tolist(), count) == likely_classes(probabilities, count)


def test_classes_are_found_by_word_before_they_are_found_inside_words(words: Words) -> None:
    found = [CATS[number] for number in words("searchClasses", CATS, " CAT", 20)]
    assert found == ["cat", "tabby cat", "Egyptian cat", CATS[-1], "catamaran", "oystercatcher", "polecat"]
    assert words("searchClasses", CATS, "cat", 2) == [4, 1]
    likely = [0.1 * (name == "Egyptian cat") + 0.9 * (name == "polecat") for name in CATS]
    assert [CATS[number] for number in words("searchClasses", CATS, "cat", 3, likely)] == [
        "cat",
        "Egyptian cat",
        "tabby cat",
    ]
    assert words("searchClasses", CATS, "egyptian-c", 5) == [3]
    assert words("searchClasses", CATS, "2", 5)[0] == 2  # the class's number, then names with a 2
    assert words("searchClasses", CATS, "cow", 5) == []
    assert words("searchClasses", CATS, " ", 5) == []
    names = ["t-shirt", "T shirt dress", "sweat_shirt", "müller", "mull"]
    assert words("searchClasses", names, "T SHIRT", 9) == [0, 1, 2]
    assert words("searchClasses", names, "ll", 9) == [3, 4]


def test_the_search_agrees_with_regular_expressions(words: Words) -> None:
    chance = random.Random(0)
    pieces = ["cat", "ca", "at", "tac", "a"]
    names = ["".join(chance.choice([*pieces, " "]) for _ in range(6)).strip() for _ in range(200)]
    for text in ("cat", "ca", "at a", "tac"):
        patterns = [rf"^{text}$", rf"\b{text}\b", rf"\b{text}", text]
        keys = [" ".join(name.split()) for name in names]
        ranks = [next((rank for rank, one in enumerate(patterns) if re.search(one, key)), 9) for key in keys]
        expected = sorted((rank, number) for number, rank in enumerate(ranks) if rank < 9)
        assert words("searchClasses", names, text, 500) == [number for _, number in expected]
