"""The command line as users run it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.cli.options import read_size
from vitattn_widgets.demo.app import MAX_PIXELS, MAX_UPLOAD
from vitattn_widgets.models import loading

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo

CAT = str(SAMPLES / "chelsea.jpg")


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Options that name a random ViT-Tiny of four classes, as a local checkpoint."""
    import timm

    torch.manual_seed(0)
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=4).state_dict(), tmp_path / "tiny.safetensors")
    (tmp_path / "tiny.json").write_text('{"architecture": "vit_tiny_patch16_224", "class_names": ["a", "b", "c", "d"]}')
    return ["--checkpoint", str(tmp_path / "tiny.safetensors")]


def test_map_writes_the_picture_that_render_view_draws(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, npz = tmp_path / "map.png", tmp_path / "map.npz"
    options = ["--layer", "7", "--head", "1", "--query", "5,8", "--no-median", "--opacity", "0.7", "--npz", str(npz)]
    assert cli.main(["map", CAT, "-o", str(out), *tiny, *options]) == 0

    model = va.load_model(None, checkpoint=tiny[1])
    capture = va.capture_attention(model, CAT)
    expected = va.render_view(capture, va.ViewSettings(layer=7, head=1, query=(5, 8), median=False, opacity=0.7))
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected.image)
    with np.load(npz) as found:
        np.testing.assert_array_equal(found["grid_map"], expected.grid_map)
    printed = capsys.readouterr().out
    assert f"shown: {expected.caption}" in printed
    assert "12 layers, 3 heads" in printed
    for name, probability in capture.top(4):
        assert f"{probability:7.1%}  {name}" in printed
    shares = ", ".join(f"{share:.1%}" for share in capture.prefix_share(7, (5, 8)))
    assert f"prefix share of the patch at row 5, col 8, by head: {shares}" in printed


def test_map_ends_with_commands_that_work(tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "my cat.jpg"
    shutil.copy(CAT, photo)
    wanted = ["map", str(photo), "-o", str(tmp_path / "my map.png"), *tiny, "--img-size", "96x112"]
    for layer, other in ((-1, 6), (6, 0)):
        assert cli.main([*wanted, "--layer", str(layer)]) == 0
        *_, page, map_again = capsys.readouterr().out.splitlines()
        assert page == f"next, in the browser: vitattn demo --checkpoint {tiny[1]}"
        assert map_again.startswith("or another layer: vitattn map ")
        _, *arguments = shlex.split(map_again.partition(": ")[2])
        assert cli.main(arguments) == 0
        assert f"layer {other} of 0..11" in capsys.readouterr().out
        assert Image.open(tmp_path / f"my map-layer-{other}.png").size == (112, 96)


def test_on_original_keeps_the_photos_size(tmp_path: Path, tiny: list[str]) -> None:
    out = tmp_path / "map.webp"
    assert cli.main(["map", CAT, "-o", str(out), *tiny, "--on", "original"]) == 0
    assert Image.open(out).size == Image.open(CAT).size


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_figure_draws_a_row_a_photo(tmp_path: Path, tiny: list[str], suffix: str) -> None:
    out = tmp_path / f"figure{suffix}"
    assert cli.main(["figure", CAT, str(SAMPLES / "coffee.jpg"), "-o", str(out), *tiny]) == 0
    assert out.stat().st_size > 10_000


def test_a_figure_holds_the_pictures_that_render_view_draws(wide_model: va.models.AttentionModel) -> None:
    captures = [va.capture_attention(wide_model, noise_photo((60, 90), seed)) for seed in range(2)]
    figure = va.figures.paper_figure(captures, va.ViewSettings(layer=1, cmap="viridis"))
    for row, capture in enumerate(captures):
        shown = [axis.images[0].get_array() for axis in figure.axes[4 * row : 4 * row + 4]]
        np.testing.assert_array_equal(shown[0], capture.view)
        for picture, aggregation in zip(shown[1:], va.AGGREGATIONS, strict=True):
            settings = va.ViewSettings(layer=1, cmap="viridis", aggregation=aggregation)
            np.testing.assert_array_equal(picture, va.render_view(capture, settings).image)
    assert [axis.get_title() for axis in figure.axes[:4]] == ["what the model saw", "mean", "max", "mean / std"]


@pytest.mark.parametrize(("query", "words"), [(None, "query: class token"), ((2, 3), "query: patch at row 2, col 3")])
def test_the_title_of_a_figure_names_the_whole_query(
    wide_capture: va.capture.AttentionCapture, query: object, words: str
) -> None:
    title = va.figures.paper_figure([wide_capture], va.ViewSettings(layer=1, query=query)).get_suptitle()
    assert title == f"VisionTransformer, layer 1 of 0..2 (blocks.1.attn), {words}"


def test_a_figure_of_a_model_with_one_head_leaves_the_ratio_out() -> None:
    import timm

    module = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=12, depth=1, num_heads=1)
    capture = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    titles = [axis.get_title() for axis in va.figures.paper_figure([capture]).axes]
    assert "max" in titles
    assert "mean / std" not in titles


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["map", "missing.jpg", "-o", "out.png"], "missing.jpg: no such file"),
        (["map", "empty.jpg", "-o", "out.png"], "empty.jpg: the file is empty"),
        (["map", "bomb.png", "-o", "out.png"], "bomb.png: more than 80,000,000 pixels"),
        (["map", CAT, "-o", "out.bmp"], "cannot write this type"),
        (["map", CAT, "-o", "nowhere/out.png"], "does not exist"),
        (["map", CAT, "-o", "out.png", "--npz", "out.txt"], "cannot write this type"),
        (["map", CAT, "-o", "out.png", "--model", "vit_tinny"], "timm has no model 'vit_tinny'; near names"),
        (["map", CAT, "-o", "out.png", "--model", "vit_large_patch16_384"], "are not on this computer"),
        (["map", CAT, "-o", "out.png", "--checkpoint", "gone.pt"], "no such checkpoint"),
        (["map", CAT, "-o", "out.png", "--opacity", "2"], "opacity must lie in 0..1"),
        (["map", CAT, "-o", "out.png", "--cmap", "jetset"], "colour map 'jetset' does not exist"),
        (["figure", "missing.jpg", "-o", "out.png"], "missing.jpg: no such file"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    from ..test_images import bomb

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jpg").write_bytes(b"")
    bomb(tmp_path / "bomb.png")
    before = sorted(tmp_path.iterdir())
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("options", [["--layer", "12"], ["--head", "3"], ["--query", "dist"], ["--query", "14,0"]])
def test_a_place_that_the_model_does_not_have_writes_nothing(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    out = tmp_path / "out.png"
    assert cli.main(["map", CAT, "-o", str(out), *tiny, *options]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not out.exists()


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_model", stop)
    assert cli.main(["map", CAT, "-o", "out.png"]) == 130
    assert capsys.readouterr().err == "vitattn: stopped\n"


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader is no error there")
def test_a_reader_that_leaves_ends_the_words_and_not_the_map(tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    command = [sys.executable, "-m", "vitattn_widgets", "map", CAT, "-o", str(out), "--model", "demo"]
    read, write = os.pipe()
    environment = os.environ | {"PYTHONUNBUFFERED": ""}  # else a command ends at the first word that nobody reads
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment) as process:
        os.close(write)
        os.close(read)
        said = process.communicate()[1]
    assert (process.returncode, said) == (141, "")
    assert out.exists()


@pytest.mark.parametrize("command", ["map", "figure", "export", "sweep", "demo", "finetune", "doctor"])
def test_help_gives_the_defaults_that_an_option_has(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for nothing in ("None", "False", "True", "[]", "==SUPPRESS=="):
        assert f"default: {nothing}" not in printed
    words = {
        "map": ["Gaussian filter with a sigma of a quarter of a patch (default: on)", "last (default: -1)"],
        "sweep": ["(default: -1)", "photos per forward pass (default: 32)"],
        "doctor": ["print the report as JSON"],
        "demo": [f"(default: {MAX_UPLOAD >> 20})", f"(default: {MAX_PIXELS})"],
        "finetune": [
            "(default: 0)",
            "(default: paper; recommended for demo)",
            "start from the published weights --epochs",
        ],
    }
    for expected in words.get(command, ["(default: inferno)"]):
        assert expected in printed


@pytest.mark.parametrize("command", [[], ["map"], ["figure"], ["doctor"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "vitattn_widgets", *command, "--help"], capture_output=True, text=True, check=True
    )
    assert "usage: vitattn" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["map", CAT, "-o", "out.png", "--query", "a,b"], "must be a token's name or ROW,COL such as 5,8, got 'a,b'"),
        *(
            (["map", CAT, "-o", "out.png", "--img-size", size], f"such as 224 or 224x320, got {size!r}")
            for size in ("foo", "100x", "x100", "-1", "1x2x3")
        ),
        (["sweep", "demo", "--limit", "0"], "must be a whole number of at least 1, got '0'"),
        (["sweep", "demo", "--batch-size", "1.5"], "must be a whole number of at least 1, got '1.5'"),
        (["demo", "--port", "99999999"], "--port: must be a whole number from 0 to 65535, got '99999999'"),
        (["demo", "--port", "-1"], "must be a whole number from 0 to 65535, got '-1'"),
    ],
)
def test_a_wrong_option_prints_the_usage_and_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: vitattn")
    assert words in error.splitlines()[-1]
    assert "invalid" not in error


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("224x320", (224, 320))])
def test_an_image_size_is_a_side_or_height_and_width(text: str, size: tuple[int, int]) -> None:
    assert read_size(text) == size


def test_the_cat_is_an_egyptian_cat(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["map", CAT, "-o", str(tmp_path / "map.png")]) == 0
    first = capsys.readouterr().out.splitlines()[1]
    assert first.split() == ["82.2%", "Egyptian", "cat"]


def test_a_model_without_classifier_predicts_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = va.load_model(model_zoo.build("qwen3_encoder", model_zoo.WIDE))
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: model)
    assert cli.main(["map", CAT, "-o", str(tmp_path / "map.png")]) == 0
    assert "no predictions: this model has no classifier" in capsys.readouterr().out


def test_map_takes_a_source_a_class_by_name_and_what_to_do_with_sinks(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    options = ["--source", "relevance", "--target", "c", "--sinks", "leave_out", "--layer", "5"]
    assert cli.main(["map", CAT, "-o", str(out), *tiny, *options]) == 0
    model = va.load_model(None, checkpoint=tiny[1])
    settings = va.ViewSettings(source="relevance", target=2, sinks="leave_out", layer=5)
    capture = va.complete_capture(model, va.capture_attention(model, CAT), settings)
    expected = va.render_view(capture, settings)
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected.image)
    assert f"shown: {expected.caption}" in capsys.readouterr().out


def test_a_class_that_does_not_exist_is_one_line(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    assert cli.main(["map", CAT, "-o", str(out), *tiny, "--source", "gradient", "--target", "tabby"]) == 2
    error = capsys.readouterr().err
    assert "there is no class 'tabby'" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_help_waits_for_nothing_heavy() -> None:
    heavy = ("torch", "timm", "gradio", "pandas", "matplotlib", "anywidget", "accelerate")
    parser = "import sys; from vitattn_widgets import cli; cli._parser()"
    code = f"{parser}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_map_explains_what_two_photos_have_in_common(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "map.png", str(SAMPLES / "coffee.jpg")
    given = ["map", CAT, "-o", str(out), *tiny]
    assert cli.main([*given, "--source", "contribution", "--like", other]) == 0
    model = va.load_model(None, checkpoint=tiny[1])
    capture = va.capture.add_direction(
        model, va.capture_attention(model, CAT), va.capture_attention(model, other), "coffee.jpg"
    )
    settings = va.ViewSettings(source="contribution", target=4)
    expected = va.render_view(va.complete_capture(model, capture, settings), settings)
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected.image)
    assert f"shown: {expected.caption}" in capsys.readouterr().out
    assert cli.main([*given, "--source", "gradient", "--like", "5,8"]) == 0
    assert "for the likeness to patch 5, 8" in capsys.readouterr().out
    for wrong, message in (
        (["--like", other], "--like has no effect on the source 'attention'"),
        (["--like", other, "--source", "gradient", "--target", "a"], "give either --target or --like"),
        (["--like", str(tmp_path / "none.jpg"), "--source", "gradient"], "none.jpg"),
    ):
        assert cli.main([*given, *wrong]) == 2
        assert message in capsys.readouterr().err
