"""Comparisons as figures and from the command line: what `compare_views` draws, and early errors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.cli import figure as command
from vitattn_widgets.cli.panels import KEYS, read_panels, short_names
from vitattn_widgets.figures import paper as paper_module
from vitattn_widgets.models import loading

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo
from ..training import lab as training_lab

CAT, CUP = str(SAMPLES / "chelsea.jpg"), str(SAMPLES / "coffee.jpg")


def pictures(figure: Figure) -> list[np.ndarray]:
    """What is drawn, without the colour bars, in reading order."""
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


def bars(figure: Figure) -> list[tuple[tuple[float, float], str, list[float]]]:
    """Range, label and ticks of each colour bar."""
    found = [axis for axis in figure.axes if axis.get_ylabel() and not axis.images]
    return [(axis.get_ylim(), axis.get_ylabel(), list(axis.get_yticks())) for axis in found]


def layers(capture: va.capture.AttentionCapture, *numbers: int, **settings: object) -> list[va.Panel]:
    return [va.Panel(capture, va.ViewSettings(layer=number, **settings)) for number in numbers]


@pytest.fixture
def tiny(tmp_path: Path) -> list[Path]:
    """Two checkpoints of random ViT-Tinys of four classes, of one name in two folders."""
    import timm

    paths = []
    for seed, folder in enumerate(("one", "two")):
        torch.manual_seed(seed)
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "best.safetensors")
        save_file(timm.create_model("vit_tiny_patch16_224", num_classes=4).state_dict(), paths[-1])
        card = '{"architecture": "vit_tiny_patch16_224", "class_names": ["a", "b", "c", "d"]}'
        paths[-1].with_suffix(".json").write_text(card)
    return paths


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[va.Panel], Figure]]:
    """The panels of every comparison that is drawn, and its figure."""
    kept: list[tuple[list[va.Panel], Figure]] = []
    plain = paper_module.comparison_figure

    def keep(panels: list[va.Panel], *arguments: object) -> Figure:
        kept.append((panels, plain(panels, *arguments)))
        return kept[-1][1]

    monkeypatch.setattr(paper_module, "comparison_figure", keep)
    return kept


@pytest.mark.parametrize("scale", ["shared", "robust"])
def test_a_figure_holds_the_panels_and_one_bar_from_the_smallest_to_the_largest_value(
    wide_capture: va.capture.AttentionCapture, scale: str
) -> None:
    panels = layers(wide_capture, 0, 1, 2, cmap="viridis")
    figure = va.figures.comparison_figure(panels, scale, note="STAND-IN")
    compared = va.compare_views(panels, scale)
    for shown, view in zip(pictures(figure), compared.views, strict=True):
        np.testing.assert_array_equal(shown, view.image)
    ((limits, label, ticks),) = bars(figure)
    assert limits == pytest.approx(compared.limits)
    assert (ticks[0], ticks[-1]) == pytest.approx(compared.limits)
    assert label == compared.unit
    assert [axis.get_title() for axis in figure.axes[:3]] == ["layer 0", "layer 1", "layer 2"]
    assert figure.get_suptitle() == f"STAND-IN\n{compared.common}"


def test_a_difference_has_an_axis_and_a_bar_of_its_own(wide_capture: va.capture.AttentionCapture) -> None:
    panels = layers(wide_capture, 0, 2)
    figure = va.figures.comparison_figure(panels, difference=True)
    difference = va.difference_view(*panels)
    np.testing.assert_array_equal(pictures(figure)[2], difference.image)
    assert figure.axes[2].get_title() == "layer 0 minus layer 2"
    (_, (limits, label, ticks)) = bars(figure)
    assert limits == pytest.approx(difference.value_range)
    assert ticks == pytest.approx([-limits[1], -limits[1] / 2, 0, limits[1] / 2, limits[1]])
    assert label == "first minus second"
    ((limits, _, only),) = bars(va.figures.comparison_figure([panels[0]] * 2, difference=True))[1:]
    assert only == [0]
    assert limits == (-1, 1)
    for number in (1, 3):
        with pytest.raises(va.errors.SettingsError, match=f"exactly two panels, got {number}"):
            va.figures.comparison_figure(panels[:1] * number, difference=True)


@pytest.mark.parametrize(("count", "columns", "expected"), [(8, None, (1, 8)), (9, None, (2, 5)), (6, 3, (2, 3))])
def test_many_panels_fill_several_rows(
    wide_capture: va.capture.AttentionCapture, count: int, columns: int | None, expected: tuple[int, int]
) -> None:
    figure = va.figures.comparison_figure(layers(wide_capture, *[0, 1, 2] * 3)[:count], columns=columns)
    grid = figure.axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == expected
    assert len(pictures(figure)) == count


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figures_are_written_in_every_format(wide_capture: va.capture.AttentionCapture, suffix: str) -> None:
    stream = io.BytesIO()
    va.figures.comparison_figure(layers(wide_capture, 0, 1), "robust", difference=True).savefig(stream, format=suffix)
    assert stream.getvalue()[:5] == {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}[suffix]


def test_the_papers_figure_takes_sources_classes_and_sinks(wide_model: va.models.AttentionModel) -> None:
    settings = va.ViewSettings(source="gradient", target=1, sinks="leave_out", layer=1)
    captures = [
        va.complete_capture(wide_model, va.capture_attention(wide_model, noise_photo((60, 90), seed)), settings)
        for seed in range(2)
    ]
    figure = va.figures.paper_figure(captures, settings)
    views = [va.render_view(capture, settings) for capture in captures]
    np.testing.assert_array_equal(pictures(figure)[1], views[0].image)
    np.testing.assert_array_equal(pictures(figure)[5], views[1].image)
    title = figure.get_suptitle()
    assert (
        "gradient x attention (the layer's term of Chefer et al. 2021) for the class class 1, sinks left out" in title
    )
    label = "gradient x attention, from each map's lowest to its highest value"
    assert " ".join(bars(figure)[0][1].split()) == label

    predicted = va.ViewSettings(source="relevance", sinks="outline")
    captures = [va.complete_capture(wide_model, capture, predicted) for capture in captures]
    figure = va.figures.paper_figure(captures, predicted)
    assert [axis.get_title() for axis in figure.axes[:2]] == ["what the model saw", "relevance"]
    assert "relevance (Chefer et al. 2021) for each photo's predicted class, sinks outlined" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("scale", "source", "words"),
    [
        ("map", "attention", "attention, from each map's lowest to its highest value"),
        (
            "shared",
            "attention",
            "attention, from the lowest to the highest value of the layer's heads (mean / std: its own)",
        ),
        ("shared", "rollout", "rollout, from each map's lowest to its highest value"),
        ("robust", "attention", "attention, from each map's 5th to 95th percentile"),
    ],
)
def test_the_papers_bar_says_what_its_colours_span(
    wide_capture: va.capture.AttentionCapture, scale: str, source: str, words: str
) -> None:
    figure = va.figures.paper_figure([wide_capture], va.ViewSettings(scale=scale, source=source))
    assert " ".join(bars(figure)[0][1].split()) == words


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_papers_figure_leaves_little_empty(wide_capture: va.capture.AttentionCapture, count: int) -> None:
    figure = va.figures.paper_figure([wide_capture] * count)
    figure.draw_without_rendering()
    panels = [axis.get_window_extent() for axis in figure.axes if axis.images]
    below = min(panel.y0 for panel in panels) / figure.dpi
    above = figure.get_figheight() - max(panel.y1 for panel in panels) / figure.dpi
    assert below < 0.3
    assert above < 0.6


def test_figure_takes_a_source_a_class_by_name_and_sinks(tmp_path: Path, tiny: list[Path]) -> None:
    out = tmp_path / "figure.png"
    options = ["--checkpoint", str(tiny[0]), "--source", "gradient", "--target", "c", "--sinks", "leave_out"]
    assert cli.main(["figure", CAT, "-o", str(out), *options]) == 0
    settings = va.ViewSettings(source="gradient", target=2, sinks="leave_out")
    model = va.load_model(None, checkpoint=tiny[0])
    expected = va.figures.paper_figure(
        [va.complete_capture(model, va.capture_attention(model, CAT), settings)], settings
    )
    stream = io.BytesIO()
    expected.savefig(stream, format="png")
    assert out.read_bytes() == stream.getvalue()


def test_texts_become_panels() -> None:
    photos = [Path("a.jpg"), Path("b.jpg")]
    asked = read_panels(["layer=0,-1 aggregation=max", "head=2 query=5,8 photo=c.jpg", "target='Egyptian cat'"], photos)
    found = [(panel.photo.stem, panel.changes, panel.target) for panel in asked]
    assert found == [
        ("a", {"layer": 0, "aggregation": "max"}, None),
        ("a", {"layer": -1, "aggregation": "max"}, None),
        ("a", {}, "Egyptian cat"),
        ("b", {"layer": 0, "aggregation": "max"}, None),
        ("b", {"layer": -1, "aggregation": "max"}, None),
        ("b", {}, "Egyptian cat"),
        ("c", {"head": 2, "query": (5, 8)}, None),
    ]
    grid = read_panels(["source=attention,norm model=x,y"], photos[:1])
    assert [(panel.changes["source"], panel.model) for panel in grid] == [
        ("attention", "x"),
        ("attention", "y"),
        ("norm", "x"),
        ("norm", "y"),
    ]
    assert [panel.photo for panel in read_panels([], photos)] == photos


def test_files_are_named_by_as_little_as_tells_them_apart() -> None:
    paths = [Path("runs/a/best.safetensors"), Path("runs/b/best.safetensors"), Path("runs/b/last.safetensors")]
    assert list(short_names(paths).values()) == ["a/best", "b/best", "b/last"]
    assert short_names(paths[:1]) == {paths[0]: "best"}
    same = [Path("cat.jpg"), Path("cat.png")]
    assert list(short_names(same).values()) == ["cat.jpg", "cat.png"]


def test_every_model_is_loaded_and_every_photo_run_once(
    tmp_path: Path,
    tiny: list[Path],
    drawn: list,
    passes: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded = []
    plain = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *names, **kw: loaded.append(names) or plain(*names, **kw))
    out = tmp_path / "out.png"
    texts = ["layer=0,5", f"checkpoint={tiny[1]} source=relevance target=c,d", "head=-1 source=gradient"]
    options = ["--checkpoint", str(tiny[0]), "--median", "--sinks", "leave_out", "--no-gaussian"]
    assert cli.main(["figure", CAT, CUP, "-o", str(out), *options, "--compare", *texts, "--scale", "robust"]) == 0
    assert out.stat().st_size > 10_000
    assert len(loaded) == 2
    assert len(passes) == 4

    ((panels, figure),) = drawn
    one, two = (va.load_model(None, checkpoint=path) for path in tiny)
    expected = []
    for path in (CAT, CUP):
        for model, change in (
            (one, {"layer": 0}),
            (one, {"layer": 5}),
            (two, {"source": "relevance", "target": 2}),
            (two, {"source": "relevance", "target": 3}),
            (one, {"head": -1, "source": "gradient"}),
        ):
            settings = va.ViewSettings(gaussian=False, sinks="leave_out", **change)
            capture = va.complete_capture(model, va.capture_attention(model, path), settings)
            expected.append(va.Panel(capture, settings))
    compared = va.compare_views(expected, "robust")
    for shown, view in zip(pictures(figure), compared.views, strict=True):
        np.testing.assert_array_equal(shown, view.image)
    assert figure.axes[0].get_gridspec().ncols == 5
    names = [panel.name for panel in panels]
    assert names == [
        f"{photo}, {run}/best" for photo in ("chelsea", "coffee") for run in ("one", "one", "two", "two", "one")
    ]
    printed = capsys.readouterr().out
    for view in compared.views:
        assert f": {view.caption}\n" in printed


def test_a_checkpoint_before_and_after_fine_tuning(
    shared: Path, tmp_path: Path, drawn: list, capsys: pytest.CaptureFixture[str]
) -> None:
    data = training_lab.colours((0, 1, 2) * 2, (0, 1, 2), (0, 1, 2))
    recipe = training_lab.recipe(pretrained=True, model_args={}, batch_size=3, epochs=1, learning_rate=1e-4)
    tuned = va.finetune(data, recipe, tmp_path / "run", workers=0, cpu=True, progress=False).best
    panels = ["model=vit_tiny_patch16_224 name=before", f"checkpoint={tuned} name=after"]
    out = tmp_path / "tuned.svg"
    assert cli.main(["figure", CAT, "-o", str(out), "--difference", "--compare", *panels]) == 0
    ((found, figure),) = drawn
    before, after = (panel.capture for panel in found)
    assert len(before.class_names) == 1000
    assert after.class_names == tuple(training_lab.COLOURS)
    expected = va.capture_attention(va.load_model(None, checkpoint=tuned), CAT).patch_attention()
    np.testing.assert_array_equal(after.patch_attention(), expected)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["before", "after", "before minus after"]
    assert figure.get_suptitle().startswith("vit_tiny_patch16_224, attention, layer 11")
    difference = va.difference_view(*found)
    assert difference.value_range[1] > 0.1
    assert difference.grid_map is not None
    assert f"{difference.caption}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compare", "laier=3"], "--compare 'laier=3': 'laier=3' is not understood; possible: KEY=VALUE"),
        (["--compare", "layer"], "possible: KEY=VALUE"),
        (["--compare", "layer="], "possible: KEY=VALUE"),
        (["--compare", "layer=1", "layer=x"], "--compare 'layer=x': layer must be a whole number, got 'x'"),
        (["--compare", "query=a,b"], "query must be a token's name or ROW,COL such as 5,8, got 'a,b'"),
        (["--compare", "head=1 head=2"], "head is given twice; write a list (head=A,B)"),
        (["--compare", "target='Egyptian"], "a quotation mark is not closed"),
        (["--compare", "source=saliency"], "--compare 'source=saliency': source 'saliency' does not exist; possible:"),
        (["--compare", "model=a,b checkpoint=x.pt"], "a checkpoint belongs to one model"),
        (["--compare", "model=vit_tinny"], "--compare 'model=vit_tinny': timm has no model 'vit_tinny'; near names"),
        (["--compare", "layer=1", "checkpoint=gone.pt"], "--compare 'checkpoint=gone.pt': gone.pt: no such checkpoint"),
        (["--compare", "photo=missing.jpg"], "missing.jpg: no such file"),
        (["--compare", "layer=0,1,2", "--difference"], "--difference needs two panels, got 3"),
        (["--compare", "layer=0", f"photo={CUP}", "--difference"], "two maps of one photo"),
        (["--difference"], "name them with --compare PANEL PANEL"),
        (["--compare", "--opacity", "3"], "opacity must lie in 0..1"),
    ],
)
def test_mistakes_are_told_in_one_line_before_a_model_is_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(loading, "load_model", loaded)
    out = tmp_path / "out.png"
    assert cli.main(["figure", CAT, "-o", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layer=99", "layer 99 does not exist"),
        ("head=3", "head 3 does not exist"),
        ("query=14,0", "query (14, 0) does not exist"),
        ("source=relevance target=zebra", "there is no class 'zebra'"),
        ("source=rollout aggregation=mean_over_std", "mean or max"),
    ],
)
def test_a_place_that_a_model_does_not_have_is_told_with_its_panel(
    tmp_path: Path, tiny: list[Path], capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    out = tmp_path / "out.png"
    assert cli.main(["figure", CAT, "-o", str(out), "--checkpoint", str(tiny[0]), "--compare", "layer=1", text]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vitattn: error: --compare {text!r}: ")
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_panel_that_names_a_model_does_not_take_the_other_checkpoint(
    tmp_path: Path, tiny: list[Path], drawn: list
) -> None:
    out = tmp_path / "out.jpg"
    options = ["--checkpoint", str(tiny[0]), "--compare", "", "model=demo"]
    assert cli.main(["figure", CAT, "-o", str(out), *options]) == 0
    ((panels, _),) = drawn
    assert [panel.capture.model_name for panel in panels] == ["vit_tiny_patch16_224 (best.safetensors)", "demo"]


def test_help_says_every_key_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["figure", "--help"])
    assert caught.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for key in KEYS:
        assert key in printed.partition("keys:")[2].partition(";")[0]
    for line in command.EXAMPLES.splitlines()[1:]:
        assert " ".join(line.split()) in printed


def test_a_model_of_another_family_stands_beside(wide_capture: va.capture.AttentionCapture) -> None:
    other = va.capture_attention(va.load_model(model_zoo.build("cait", model_zoo.SQUARE)), noise_photo((80, 150)))
    figure = va.figures.comparison_figure([va.Panel(wide_capture), va.Panel(other)], difference=True)
    assert pictures(figure)[2].shape == (80, 150, 3)
