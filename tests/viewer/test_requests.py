"""Answers to a viewer's requests: the capture's own numbers, and one clear line for anything else."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import vitattn_widgets as va
from vitattn_widgets.maps.attribution import source_maps
from vitattn_widgets.maps.settings import MapSettings
from vitattn_widgets.view.drawing import color_table
from vitattn_widgets.viewer.requests import MAX_TEXT, NEEDS, answer, parse_query

from .. import model_zoo
from ..conftest import noise_photo

MAPS = {"need": "maps", "source": "gradient", "layers": [0, 2], "query": None, "target": None, "fusion": None}


def tensors_of(
    model: va.models.AttentionModel, capture: va.capture.AttentionCapture, request: dict[str, Any]
) -> dict[str, np.ndarray]:
    return safetensors.numpy.load(answer(model, capture, request).content)


@pytest.fixture
def cait() -> tuple[va.models.AttentionModel, va.capture.AttentionCapture]:
    model = va.load_model(model_zoo.build("cait", model_zoo.WIDE), img_size=model_zoo.WIDE)
    return model, va.capture_attention(model, noise_photo((80, 150)))


def test_operands_are_those_of_one_layer(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    tensors = tensors_of(wide_model, wide_capture, {"need": "operands", "layer": -1})
    assert set(tensors) == {f"layer2.{part}" for part in ("q", "k", "scale")}
    assert tensors["layer2.q"].shape == (3, 25, 16)


@pytest.mark.parametrize("query", ["2,5", "class", "mean", None])
def test_a_row_is_the_captures(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, query: str | None
) -> None:
    (row,) = tensors_of(wide_model, wide_capture, {"need": "row", "layer": 1, "query": query}).items()
    assert row[0] == f"layer1.row.{query or 'class'}"
    assert np.array_equal(row[1], wide_capture.attention(1, parse_query(query)))


def test_rows_of_mixed_heads_are_asked_for(cait: tuple[va.models.AttentionModel, va.capture.AttentionCapture]) -> None:
    model, capture = cait
    with pytest.raises(va.errors.SettingsError, match="no queries and keys that a browser could use; ask for a row"):
        answer(model, capture, {"need": "operands", "layer": 0})
    (row,) = tensors_of(model, capture, {"need": "row", "layer": 0, "query": "3,1"}).values()
    assert np.array_equal(row, capture.attention(0, (3, 1)))


@pytest.mark.parametrize("source", ["norm", "rollout", "gradient", "gradient_late", "relevance"])
@pytest.mark.parametrize("query", [None, "2,5"])
def test_maps_are_those_of_the_source(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, source: str, query: str | None
) -> None:
    fusion = "max" if source == "rollout" else None
    request = MAPS | {"source": source, "query": query, "target": 3, "fusion": fusion}
    tensors = tensors_of(wide_model, wide_capture, request)
    by_class = source not in ("norm", "rollout")
    names = [f"maps/{source}/{i}/{query or 'class'}/{'3' if by_class else '-'}/{fusion or '-'}" for i in (0, 2)]
    assert set(tensors) == {*names, *(f"{name}/share" for name in names)}
    for layer, name in zip((0, 2), names, strict=True):
        settings = MapSettings(
            layer=layer, query=parse_query(query), source=source, target=3, aggregation=fusion or "mean"
        )
        expected = source_maps(va.complete_capture(wide_model, wide_capture, settings), settings)
        assert np.array_equal(tensors[name], expected.maps)
        assert np.array_equal(tensors[f"{name}/share"], expected.prefix_share)


def test_maps_complete_the_capture_once(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    first = answer(wide_model, wide_capture, MAPS)
    assert not wide_capture.gradients
    assert len(first.capture.gradients) == 1
    again = answer(wide_model, first.capture, MAPS)
    assert again.capture is first.capture
    assert again.content == first.content
    assert answer(wide_model, wide_capture, {"need": "row", "layer": 0, "query": "0,0"}).capture is wide_capture


def test_the_default_query_and_the_predicted_class_are_named_in_full(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    predicted = int(wide_capture.probabilities.argmax())
    assert f"maps/gradient/0/class/{predicted}/-" in tensors_of(wide_model, wide_capture, MAPS)


def test_any_colour_map_of_matplotlib_can_be_asked_for(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    tensors = tensors_of(wide_model, wide_capture, {"need": "colors", "cmap": "hot"})
    assert np.array_equal(tensors["colors.hot"], color_table("hot"))


# --- what strangers send ---

BAD = [
    (None, "a request must be an object, got NoneType"),
    ([], "a request must be an object, got list"),
    ({}, "need None does not exist; possible: operands, row, maps, colors"),
    ({"need": ["row"]}, "need list does not exist"),
    ({"need": "x" * 10_000}, "need 'xxx"),
    ({"need": "row"}, "layer must be the number of a layer, got None"),
    ({"need": "row", "layer": True}, "got True"),
    ({"need": "row", "layer": 1.0}, "got 1.0"),
    ({"need": "row", "layer": 10**5000}, "layer must be the number of a layer, got int"),
    ({"need": "row", "layer": 99}, "layer 99 does not exist"),
    ({"need": "row", "layer": 0, "query": [0, 0]}, "query must be a name, got list"),
    ({"need": "row", "layer": 0, "query": "9,9"}, r"query \(9, 9\) does not exist"),
    ({"need": "row", "layer": 0, "query": "99999999999,1"}, "query '99999999999,1' does not exist"),
    ({"need": "row", "layer": 0, "query": "class+" * 10_000}, "query must be a name, got 'class"),
    ({"need": "row", "layer": 0, "query": "١,٢"}, "does not exist"),
    ({"need": "operands", "layer": None}, "got None"),
    (MAPS | {"layers": 3}, "layers must list 1 to 3 layers, got 3"),
    (MAPS | {"layers": []}, "layers must list 1 to 3 layers"),
    (MAPS | {"layers": [0] * 1000}, "layers must list 1 to 3 layers"),
    (MAPS | {"layers": ["0"]}, "layer must be the number of a layer, got '0'"),
    (MAPS | {"source": "magic"}, "source 'magic' does not exist; possible: attention, norm"),
    (MAPS | {"source": {}}, "source dict does not exist"),
    (MAPS | {"target": "cat"}, "target must be the number of a class, got 'cat'"),
    (MAPS | {"target": 5}, "class 5 does not exist"),
    (MAPS | {"target": float("nan")}, "got nan"),
    (MAPS | {"source": "rollout", "fusion": "mean_over_std"}, "fusion 'mean_over_std' does not exist"),
    (MAPS | {"source": "rollout", "fusion": 1}, "fusion 1 does not exist"),
    ({"need": "colors"}, "cmap must be a name, got None"),
    ({"need": "colors", "cmap": "rainbowish"}, "colour map 'rainbowish' does not exist"),
]


@pytest.mark.parametrize(("request_", "message"), BAD)
def test_bad_requests_are_one_short_line(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, request_: object, message: str
) -> None:
    with pytest.raises(va.errors.SettingsError, match=message) as raised:
        answer(wide_model, wide_capture, request_)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 4 * MAX_TEXT


def test_random_requests_are_answered_or_refused(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    chance = random.Random(0)
    odd = [None, "", "class", "0,1", "-1,2", -1, 0, 2, 1e300, 2**70, True, [], [0], [[0]], {}, "gradient", "\ud800\n"]
    parts = ("layer", "layers", "query", "source", "target", "fusion", "cmap")
    refused = []
    for _ in range(2000):
        request = {name: chance.choice(odd) for name in parts}
        try:
            answer(wide_model, wide_capture, request | {"need": chance.choice(NEEDS)})
        except va.errors.VitattnError as error:
            refused.append(str(error))
    assert 1000 < len(refused) < 1950
    assert not any("\n" in message for message in refused)
