"""The bytes of the offline page: its capsule against the capture, what it says, and what it never says."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.export import page as page_module
from vitattn_widgets.maps.resolve import fit_settings
from vitattn_widgets.models import loading
from vitattn_widgets.view.settings import VIEW_FIELDS
from vitattn_widgets.viewer.settings import START

from .. import model_zoo, stage_zoo
from ..conftest import SAMPLES, noise_photo

NASTY = "<b>&\"'</script><script>document.title='owned'</script>$style"


class PageReader(HTMLParser):
    """The elements of a page: attributes and texts, as a browser reads them."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    def of(self, tag, **attributes):
        """The texts of the elements that have this tag and these attributes."""
        wanted = attributes.items()
        found = zip(self.elements, self.texts, strict=True)
        return [text.strip() for (name, has), text in found if name == tag and wanted <= has.items()]

    @property
    def start(self):
        """The settings that the page opens with."""
        return json.loads(self.of("script", id="va-page")[0])["start"]

    def capsule(self):
        """Facts and tensors of the capsule."""
        content = gzip.decompress(base64.b85decode(self.of("script", id="va-capsule")[0].replace(",", "<")))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return json.loads(header["__metadata__"]["vitattn"]), safetensors.numpy.load(content)


def test_the_page_holds_every_layer_and_source_as_python_computes_them(wide_model, wide_capture):
    facts, tensors = PageReader(va.export.make_page(wide_model, wide_capture).content).capsule()
    predicted = int(wide_capture.probabilities.argmax())
    capture = va.complete_capture(wide_model, wide_capture, va.ViewSettings(source="relevance"))
    for layer in range(3):
        np.testing.assert_array_equal(tensors[f"layer{layer}.row.class"], capture.attention(layer))
        for source in ("gradient", "gradient_late", "relevance"):
            maps = va.maps.source_maps(capture, va.ViewSettings(source=source, layer=layer)).maps
            np.testing.assert_array_equal(tensors[f"maps/{source}/{layer}/class/{predicted}/-"], maps)
        scores = capture.layers[layer].attention.scores
        for part in ("q", "k"):
            values = tensors[f"layer{layer}.{part}"] * tensors[f"layer{layer}.{part}_scale"][..., None]
            wanted = getattr(scores, part)[0].numpy()
            np.testing.assert_allclose(values, wanted, atol=np.abs(wanted).max() / 2**12)
    assert [source["unavailable"] for source in facts["sources"]] == [""] * len(va.SOURCES)


@pytest.mark.parametrize(
    "family", ["cait", "vit_attention_pool", "vit_refining_pool", "tnt", "qwen3_encoder", "naflex"]
)
def test_every_shape_of_model_has_a_page(family):
    model = va.load_model(model_zoo.build(family, model_zoo.WIDE))
    capture = va.capture_attention(model, noise_photo((90, 70)))
    page = va.export.make_page(model, capture)
    facts, tensors = PageReader(page.content).capsule()
    for layer in range(capture.num_layers):
        query = facts["layers"][layer]["default_query"]
        np.testing.assert_array_equal(tensors[f"layer{layer}.row.{query}"], capture.attention(layer))
    assert page.left_out == tuple(facts["left_out"])
    assert any("no plain softmax" in sentence for sentence in page.left_out) == (family == "cait")


def test_the_page_opens_with_the_viewers_start_or_the_settings_given(wide_model, wide_capture):
    start = PageReader(va.export.make_page(wide_model, wide_capture, name="cat.jpg").content).start
    assert va.ViewSettings(**{name: start[name] for name in VIEW_FIELDS}) == replace(START, layer=2)
    assert (start["model"], start["picture"]) == (wide_capture.model_name, "cat.jpg")
    settings = va.ViewSettings(layer=-2, head=-1, query=(2, 5), source="gradient", target=3, cmap="viridis")
    page = PageReader(va.export.make_page(wide_model, wide_capture, settings).content)
    opened = va.ViewSettings(**{name: page.start[name] for name in VIEW_FIELDS})
    assert opened == replace(settings, layer=1, head=2)
    assert "maps/gradient/1/2,5/3/-" in page.capsule()[1]


def test_a_patch_of_one_grid_is_the_one_at_its_place_on_every_other_grid():
    model = va.load_model(stage_zoo.build("swin"), img_size=stage_zoo.MODELS["swin"].size)
    capture = va.capture_attention(model, noise_photo((60, 90)))
    settings = va.ViewSettings(layer=0, query=(capture.layers[0].tokens.query_grid[0] - 1, 1))
    _, tensors = PageReader(page_module.make_page(model, capture, settings).content).capsule()
    for layer in range(capture.num_layers):
        grid = capture.layers[0].tokens.query_grid
        there = fit_settings(replace(settings, layer=layer), capture, grid=grid).query
        name = f"layer{layer}.row.{there[0]},{there[1]}"
        np.testing.assert_array_equal(tensors[name], capture.attention(layer, there))


def test_a_photo_without_a_name_has_no_path_in_its_code(wide_model, wide_capture):
    page = PageReader(va.export.make_page(wide_model, wide_capture).content)
    assert page.start["picture"] == "photo"
    facts, _ = page.capsule()
    assert facts["picture"]["path"] is None
    assert facts["recipe"]["picture"]["path"] is None


def test_sources_can_be_chosen(wide_model, wide_capture):
    page = va.export.make_page(wide_model, wide_capture, replace(START, source="rollout"), ["rollout", "attention"])
    facts, tensors = PageReader(page.content).capsule()
    possible = [source["name"] for source in facts["sources"] if not source["unavailable"]]
    assert possible == ["attention", "rollout"]
    assert {name.split("/")[1] for name in tensors if name.startswith("maps/")} == {"rollout"}
    assert "2 sources: attention, rollout" in page.describe()


@pytest.mark.parametrize("settings", [None, va.ViewSettings(on="original", source="gradient", layer=1, head=1)])
def test_without_scripts_there_is_the_first_map_and_its_sentence(wide_model, wide_capture, settings):
    page = PageReader(va.export.make_page(wide_model, wide_capture, settings).content)
    settings = settings or START
    capture = va.complete_capture(wide_model, wide_capture, settings)
    (still,) = [has for tag, has in page.elements if tag == "img"]
    image = Image.open(io.BytesIO(base64.b64decode(still["src"].removeprefix("data:image/jpeg;base64,"))))
    expected = Image.fromarray(va.render_view(capture, settings).image)
    assert image.size == expected.size
    # averages over about a patch, as a JPEG of noise is far from it in single pixels
    shown, wanted = (np.asarray(one.resize((6, 4), Image.Resampling.BOX)).astype(int) for one in (image, expected))
    assert np.abs(shown - wanted).max() < 10
    assert still["alt"] == va.view.sentence(capture, settings)
    assert va.view.sentence(capture, settings) in page.of("p")
    assert va.render_view(capture, settings).caption in page.of("p")


def test_what_does_not_fit_is_left_out_and_said(monkeypatch):
    torch.manual_seed(0)
    model = va.load_model(timm.create_model("vit_small_patch16_224"))  # 3.6 MB of queries and keys
    page = va.export.make_page(model, va.capture_attention(model, SAMPLES / "coffee.jpg"))
    assert 2_500_000 < len(page.content) <= 3_000_000
    reader = PageReader(page.content)
    tensors = reader.capsule()[1]
    held = [layer for layer in range(12) if f"layer{layer}.q" in tensors]
    assert held == list(range(12))[-len(held) :]
    assert 0 < len(held) < 12
    assert f"Every patch can be the query in {len(held)} of 12 layers." in page.included
    assert any("queries and keys did not fit" in sentence for sentence in page.left_out)
    for sentence in (*page.included, *page.left_out):
        assert sentence in reader.of("p")
        assert sentence in page.describe()
    monkeypatch.setattr(page_module, "MAX_BYTES", 500_000)
    with pytest.raises(va.errors.SettingsError, match="choose a model with fewer layers"):
        va.export.make_page(model, va.capture_attention(model, SAMPLES / "coffee.jpg"))


def test_the_same_input_gives_the_same_bytes_and_no_date(wide_model, tmp_path):
    photo = noise_photo((80, 150))
    pages = [va.export_page(wide_model, photo, tmp_path / name).content for name in ("a.html", "b.html")]
    assert pages[0] == pages[1] == (tmp_path / "a.html").read_bytes()
    assert not re.search(rb"\b20\d\d-\d\d-\d\d", pages[0])


def test_nothing_in_the_page_leads_outside(wide_model, wide_capture):
    content = va.export.make_page(wide_model, wide_capture).content
    page = PageReader(content)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
        assert "style" not in attributes  # the policy would block it
        assert not [name for name in attributes if name.startswith("on")]
    (script,) = page.of("script", type="module")
    assert set(re.findall(r"https?://[^\"'`\s]+", content.decode())) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!data:)", page.of("style")[0])
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|\beval\(|new Function|innerHTML", script)
    assert not re.search(r"^\s*(import|export)\s", script, re.MULTILINE)
    policy = next(found["content"] for _, found in page.elements if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data: blob:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_text_from_outside_stays_text(wide_model):
    model = replace(wide_model, name=NASTY, class_names=tuple(f"{NASTY}{index}" for index in range(5)))
    capture = va.capture_attention(model, noise_photo((80, 150)))
    settings = replace(START, source="relevance")
    page = PageReader(va.export.make_page(model, capture, settings, name=NASTY.replace("/", "")).content)
    assert len(page.of("script")) == 3
    assert page.of("b") == []
    assert page.of("title")[0].startswith("<b>&\"'<script>")
    assert NASTY in va.view.sentence(va.complete_capture(model, capture, settings), settings)
    assert page.start["picture"] == NASTY.replace("/", "")
    assert page.capsule()[0]["model"]["classes"][0] == f"{NASTY}0"


def test_the_page_names_no_folder_of_this_computer(tmp_path, monkeypatch):
    weights = tmp_path / "secret" / "weights.safetensors"
    weights.parent.mkdir()
    save_file(timm.create_model("test_vit", num_classes=3).state_dict(), weights)
    model = va.load_model("test_vit", checkpoint=weights)
    photo = tmp_path / "secret" / "cat.jpg"
    photo.write_bytes((SAMPLES / "chelsea.jpg").read_bytes())
    content = va.export_page(model, photo, tmp_path / "page.html").content
    facts, tensors = PageReader(content).capsule()
    everything = content + json.dumps(facts).encode() + b"".join(tensor.tobytes() for tensor in tensors.values())
    assert b"secret" not in everything
    assert b"cat.jpg" in content

    # beside photo and weights, its code and its recipe draw the picture again
    monkeypatch.chdir(photo.parent)
    expected = va.render_view(va.capture_attention(model, photo))
    np.testing.assert_array_equal(va.from_recipe(facts["recipe"]).image, expected.image)
    namespace = {}
    exec("\n".join(facts["model"]["code"]), namespace)
    again = va.capture_attention(namespace["model"], facts["picture"]["path"])
    np.testing.assert_array_equal(va.render_view(again).image, expected.image)


@pytest.mark.parametrize(
    ("settings", "sources", "words"),
    [
        (va.ViewSettings(layer=3), None, "layer 3 does not exist"),
        (va.ViewSettings(head=3), None, "head 3 does not exist"),
        (va.ViewSettings(query="dist"), None, "'dist' does not exist"),
        (va.ViewSettings(target=9), None, "class 9 does not exist"),
        (va.ViewSettings(), ["attention", "saliency"], "'saliency'"),
        (va.ViewSettings(), [], "choose one or more"),
        (va.ViewSettings(), ["rollout"], "opens with source 'attention'"),
    ],
)
def test_what_does_not_exist_is_one_clear_error_and_no_file(wide_model, tmp_path, settings, sources, words):
    with pytest.raises(va.errors.SettingsError, match=words):
        va.export_page(wide_model, noise_photo((80, 150)), tmp_path / "page.html", settings, sources)
    assert not list(tmp_path.iterdir())


def test_in_the_real_models_page_every_patch_of_every_layer_can_be_chosen(real_model, chelsea):
    page = va.export.make_page(real_model, chelsea, name="chelsea.jpg")
    assert len(page.content) <= 3_000_000
    assert "Every patch can be the query in 12 of 12 layers." in page.included
    assert any("Egyptian cat, tabby and tiger cat" in sentence for sentence in page.left_out)


# ---- the command line ----


@pytest.fixture
def loaded(monkeypatch, wide_model):
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: wide_model)


def test_the_command_writes_the_page_that_make_page_makes(loaded, wide_model, tmp_path, capsys):
    out = tmp_path / "page.html"
    photo = str(SAMPLES / "coffee.jpg")
    options = ["--source", "rollout", "--source", "attention", "--layer", "1", "--opacity", "0.4", "--cmap", "magma"]
    assert cli.main(["export", photo, "-o", str(out), *options]) == 0
    settings = replace(START, source="rollout", layer=1, opacity=0.4, cmap="magma")
    page = va.export.make_page(
        wide_model, va.capture_attention(wide_model, photo), settings, ["rollout", "attention"], "coffee.jpg"
    )
    assert out.read_bytes() == page.content
    printed = capsys.readouterr().out
    assert f"wrote {out}: {page.describe()}" in printed
    assert all(sentence in printed for sentence in page.left_out)
    assert list(tmp_path.iterdir()) == [out]


def test_the_command_starts_as_the_viewer_does(loaded, wide_model, tmp_path):
    out = tmp_path / "page.html"
    name = wide_model.class_names[3]
    assert cli.main(["export", str(SAMPLES / "coffee.jpg"), "-o", str(out), "--target", name]) == 0
    start = PageReader(out.read_bytes()).start
    opened = va.ViewSettings(**{name: start[name] for name in VIEW_FIELDS})
    assert opened == replace(START, layer=2, target=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jpg", "-o", "page.html"], "missing.jpg: no such file"),
        ([str(SAMPLES / "coffee.jpg"), "-o", "page.pdf"], "cannot write this type of file; possible: .html, .htm"),
        ([str(SAMPLES / "coffee.jpg"), "-o", "gone/page.html"], "the folder gone does not exist"),
        ([str(SAMPLES / "coffee.jpg"), "-o", "page.html", "--opacity", "2"], "opacity must lie in 0..1"),
        ([str(SAMPLES / "coffee.jpg"), "-o", "page.html", "--cmap", "jetset"], "colour map 'jetset' does not exist"),
    ],
)
def test_a_users_mistake_is_one_line_before_the_model_is_loaded(tmp_path, monkeypatch, capsys, arguments, words):
    def load(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(loading, "load_model", load)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(Path().iterdir())
