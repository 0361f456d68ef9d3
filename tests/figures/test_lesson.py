"""Figures for lessons: they show what the pipeline returns, and say what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.datasets.made.dataset import make_dataset
from vitattn_widgets.evaluation.measures import MEASURES
from vitattn_widgets.evaluation.result import EVALUATED


def pictures(axis: object) -> np.ndarray:
    (image,) = axis.images
    return np.asarray(image.get_array())


def titles(figure: object) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


@pytest.fixture(scope="module")
def evaluation(wide_model: va.models.AttentionModel) -> va.evaluation.MapEvaluation:
    photos = make_dataset("cassava", per_class=(1, 1, 1)).test
    return va.evaluate_maps(wide_model, photos, layers=[0, 1], progress=False)


def test_the_photos_of_a_split_stand_under_their_classes() -> None:
    photos = make_dataset("cassava", per_class=(1, 1, 3)).test
    figure = va.figures.photos_figure(photos, per_class=2)
    assert titles(figure) == 2 * list(photos.class_names)
    np.testing.assert_array_equal(pictures(figure.axes[7]), np.asarray(photos.load(7)))
    assert "STAND-IN for" in figure.get_suptitle()
    assert "outlined: the evidence" in figure.get_suptitle()


def test_photos_without_masks_are_shown_without_outlines(tmp_path: Path) -> None:
    photos = make_dataset("imagenet", per_class=(1, 1, 1)).test
    bare = type("Bare", (type(photos),), {"mask": lambda self, index: None})(**vars(photos))
    figure = va.figures.photos_figure(replace(bare, stand_in=False), classes=4)
    assert titles(figure) == list(photos.class_names[:4])
    assert figure.get_suptitle() == "ImageNet, test split"
    assert all(not axis.collections for axis in figure.axes)


def test_a_split_without_photos_is_refused() -> None:
    with pytest.raises(va.errors.DataError, match="no photos to show"):
        va.figures.photos_figure(make_dataset("cassava", per_class=(1, 1, 0)).test)


def test_heads_stand_side_by_side_on_one_scale(wide_capture: va.capture.AttentionCapture) -> None:
    figure = va.figures.heads_figure(wide_capture, layer=1)
    plain = va.ViewSettings(layer=1, bilinear=False, median=False, gaussian=False, scale="shared", opacity=1)
    heads = wide_capture.num_heads(1)
    views = va.render_views(wide_capture, [replace(plain, head=head) for head in range(heads)])
    np.testing.assert_array_equal(pictures(figure.axes[0]), wide_capture.view)
    for axis, view in zip(figure.axes[1:], views, strict=False):
        np.testing.assert_array_equal(pictures(axis), view.image)
    share = wide_capture.prefix_share(1)[heads - 1]
    assert figure.axes[heads].get_title() == f"head {heads - 1}\nprefix share {share:.0%}"


def test_each_smoothing_step_builds_on_the_one_before(wide_capture: va.capture.AttentionCapture) -> None:
    figure = va.figures.smoothing_figure(wide_capture, va.ViewSettings(layer=0, aggregation="max", opacity=0.2))
    settings = va.ViewSettings(layer=0, aggregation="max", opacity=1)
    without = replace(settings, gaussian=False)
    steps = (
        replace(without, median=False, bilinear=False),
        replace(without, median=False),
        without,
        settings,
        replace(settings, opacity=0.5),
    )
    assert len(figure.axes) == len(steps)
    for axis, step in zip(figure.axes, steps, strict=True):
        np.testing.assert_array_equal(pictures(axis), va.render_view(wide_capture, step).image)
    low, high = va.render_view(wide_capture, settings).value_range
    assert figure.axes[3].get_xlabel() == f"{low:.2g} to {high:.2g}"


def test_bars_are_as_long_as_the_tables_numbers(evaluation: va.evaluation.MapEvaluation) -> None:
    one = evaluation.only(evaluation.photos["layer"] == 1, "layer 1")
    figure = va.figures.measures_figure(one)
    table = one.table()
    assert titles(figure) == [MEASURES[measure] for measure in EVALUATED]
    for axis, measure in zip(figure.axes, table, strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in axis.patches], table[measure])
        assert [text.get_text() for text in axis.texts] == [f"{value:.2f}" for value in table[measure]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(table.index)
    heights = [bar.get_y() for bar in figure.axes[0].patches]
    assert heights == sorted(heights, reverse=True)  # read from above, as the table is
    assert figure.get_suptitle() == one.heading


def test_a_map_without_a_measure_has_a_dash_in_its_own_row(wide_model: va.models.AttentionModel) -> None:
    photos = make_dataset("cassava", per_class=(1, 1, 1)).test
    sources = ["attention", "relevance", "gradient_late"]
    evaluation = va.evaluate_maps(wide_model, photos, progress=False, sources=sources)
    figure = va.figures.measures_figure(evaluation)
    agreement = figure.axes[-1]
    assert agreement.get_title() == MEASURES["head_agreement"]
    assert [text.get_text() for text in agreement.texts][-2:] == ["-", "-"]
    rows = {axis.get_ylim() for axis in figure.axes}
    assert len(rows) == 1  # a row is at the same height in every panel
    ((low, high),) = rows
    assert all(low < text.get_position()[1] < high for axis in figure.axes for text in axis.texts)
    colors = [bar.get_facecolor() for bar in figure.axes[0].patches]
    assert colors[0] == colors[1]
    assert len(set(colors[1:])) == len(colors) - 1


def test_curves_run_over_the_layers(evaluation: va.evaluation.MapEvaluation) -> None:
    figure = va.figures.layers_figure(evaluation)
    border = next(axis for axis in figure.axes if axis.get_title() == MEASURES["border_share"])
    curves = {line.get_label(): line.get_xydata() for line in border.lines}
    assert set(curves) == {"uniform", "centre blob", "mean", "max", "mean / std"}
    table = evaluation.table()["border_share"]
    np.testing.assert_allclose(curves["max"], [[0, table[(0, "max")]], [1, table[(1, "max")]]])


def test_each_figure_of_an_evaluation_has_its_number_of_layers(evaluation: va.evaluation.MapEvaluation) -> None:
    with pytest.raises(va.errors.SettingsError, match="this evaluation has several; use layers_figure"):
        va.figures.measures_figure(evaluation)
    with pytest.raises(va.errors.SettingsError, match="this evaluation has one; use measures_figure"):
        va.figures.layers_figure(evaluation.only(evaluation.photos["layer"] == 0, "layer 0"))


def test_the_papers_figure_says_what_the_photos_are(wide_capture: va.capture.AttentionCapture) -> None:
    figure = va.figures.paper_figure([wide_capture], note="STAND-IN")
    assert figure.get_suptitle().startswith("STAND-IN\nVisionTransformer, layer")
    assert va.figures.paper_figure([wide_capture]).get_suptitle().startswith("VisionTransformer, layer")
