"""Aggregating heads into one map, against the formulas written out in plain Python floats."""

from __future__ import annotations

import math

import numpy as np
import pytest

import vitattn_widgets as va


def slow(maps: np.ndarray, aggregation: str) -> np.ndarray:
    heads, rows, cols = maps.shape
    out = np.zeros((rows, cols))
    for row in range(rows):
        for col in range(cols):
            values = [float(maps[head, row, col]) for head in range(heads)]
            mean = sum(values) / heads
            std = math.sqrt(sum((value - mean) ** 2 for value in values) / heads)  # ddof 0
            out[row, col] = {"mean": mean, "max": max(values), "mean_over_std": mean / max(std, 1e-6 * mean)}[
                aggregation
            ]
    return out


@pytest.mark.parametrize("aggregation", va.AGGREGATIONS)
@pytest.mark.parametrize("heads", [2, 3, 12])
def test_aggregations_equal_the_formulas(aggregation: str, heads: int) -> None:
    maps = np.random.default_rng(heads).dirichlet(np.ones(20), heads).reshape(heads, 4, 5).astype(np.float32)
    found = va.aggregate_heads(maps, aggregation)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow(maps, aggregation), rtol=1e-6)


def test_raw_maps_are_aggregated_and_not_maps_scaled_head_by_head() -> None:
    strong, weak = np.array([[0.9, 0.1]]), np.array([[0.001, 0.002]])
    np.testing.assert_allclose(va.aggregate_heads(np.stack([strong, weak]), "max"), [[0.9, 0.1]], rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e-30, 0.1, 1 / 3])
def test_heads_that_agree_give_a_finite_ratio(value: float) -> None:
    ratio = va.aggregate_heads(np.full((3, 2, 2), value), "mean_over_std")
    assert np.isfinite(ratio).all()
    np.testing.assert_allclose(ratio, 1e6 if value else 0, rtol=1e-3)


def test_one_head_has_a_mean_and_a_max_but_no_ratio() -> None:
    maps = np.ones((1, 2, 2), np.float32)
    np.testing.assert_array_equal(va.aggregate_heads(maps, "mean"), va.aggregate_heads(maps, "max"))
    with pytest.raises(ValueError, match="at least two heads"):
        va.aggregate_heads(maps, "mean_over_std")


def test_an_unknown_aggregation_is_reported_with_the_possible_ones() -> None:
    with pytest.raises(ValueError, match="'mean_std' does not exist; possible: mean, max, mean_over_std"):
        va.aggregate_heads(np.ones((2, 2, 2)), "mean_std")


@pytest.mark.parametrize("shape", [(2, 2), (0, 2, 2), (1, 2, 2, 2)])
def test_maps_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(heads, rows, cols\)"):
        va.aggregate_heads(np.ones(shape))
