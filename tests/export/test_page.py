"""The bytes of the exported page: every map against render_view, what it says, and what it never says."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.export import page as page_module
from vitattn_widgets.models import loading
from vitattn_widgets.view.arrange import screen_capture
from vitattn_widgets.view.drawing import color_table, place_on_source

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo
from .test_packing import splined, unpack

NASTY = "<b>&\"'</script><script>document.title='owned'</script>{opacity}$style"


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

    def of(self, **attributes):
        """The texts of the elements that have these attributes."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}.items()
        return [text for (_, found), text in zip(self.elements, self.texts, strict=True) if wanted <= found.items()]

    @property
    def facts(self):
        return json.loads(self.of(id="va-facts")[0])

    @property
    def blocks(self):
        return [base64.b64decode(text) for text in self.of(class_="va-block")]


def maps_of(content):
    """Every map of a page, by the documented format alone: ``(source, layer, choice) -> heat in levels, values``."""
    page = PageReader(content)
    facts = page.facts
    packed = type("Packed", (), {})()
    packed.blocks, packed.samples = page.blocks, facts["maps"]["samples"]
    packed.value_digits = facts["valueDigits"]
    found = {}
    for index, sheet in enumerate(facts["sheets"]):
        levels, values = unpack(packed, index, len(sheet["choices"]), facts["grid"])
        if not facts["maps"]["exact"]:
            levels = np.floor((splined(levels, facts["maps"]["size"]) + 0.5).clip(0, 255))
        for number, choice in enumerate(sheet["choices"]):
            found[sheet["source"], sheet["layer"], choice] = (sheet, number, levels[number], values[number])
    return found


def settings_of(choice, settings, sheet):
    query = tuple(sheet["query"]) if isinstance(sheet["query"], list) else sheet["query"]
    settings = replace(settings, source=sheet["source"], layer=sheet["layer"], query=query, head=None)
    if isinstance(choice, int):
        return replace(settings, head=choice)
    return replace(settings, aggregation=choice or "mean")


def assert_drawn_by_render_view(content, capture, settings, error=0):
    found = maps_of(content)
    for (_, _, choice), (sheet, number, levels, values) in found.items():
        wanted = va.render_view(capture, settings_of(choice, settings, sheet))
        heat = wanted.heat
        if settings.on != "view":
            heat = place_on_source(heat, capture.crop_box, capture.source.shape[:2])[0]
        assert np.abs(levels - np.floor(heat * 255 + 0.5)).max() <= error
        np.testing.assert_allclose(values, wanted.grid_map, rtol=2**-12, atol=1e-30)
        assert sheet["captions"][number] == wanted.caption
        np.testing.assert_allclose(sheet["ranges"][number], wanted.value_range, rtol=1e-5)
    return found


def test_the_page_holds_every_layer_head_and_aggregation_as_render_view_draws_them(wide_model, wide_capture):
    page = va.export.make_page(wide_model, wide_capture)
    found = assert_drawn_by_render_view(page.content, wide_capture, va.ViewSettings())
    assert page.maps == len(found) == 3 * (3 + 3)
    assert page.error == page.color_error == 0
    assert "every pixel kept" in page.describe()


SETTINGS = [
    va.ViewSettings(on="original", sinks="outline", median=False),
    va.ViewSettings(query=(2, 5), scale="robust", cmap="viridis", layer=1, head=2),
    va.ViewSettings(bilinear=False, median=False, gaussian=False, scale="shared", aggregation="max", sinks="leave_out"),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_settings_given_hold_for_every_map(wide_model, wide_capture, settings):
    page = va.export.make_page(wide_model, wide_capture, settings)
    assert_drawn_by_render_view(page.content, screen_capture(wide_capture), settings)
    facts = PageReader(page.content).facts
    start = {name: getattr(settings, name) for name in ("source", "head", "aggregation", "opacity")}
    assert facts["start"] == start | {"layer": settings.layer % 3}
    assert base64.b64decode(facts["colors"]) == color_table(settings.cmap).tobytes()


def test_of_several_sources_each_has_the_maps_that_it_has(wide_model, wide_capture):
    page = va.export.make_page(wide_model, wide_capture, va.ViewSettings(target=1), va.SOURCES)
    capture = wide_capture
    for source in va.SOURCES:
        capture = va.complete_capture(wide_model, capture, va.ViewSettings(source=source, target=1))
    found = assert_drawn_by_render_view(page.content, capture, va.ViewSettings(target=1))
    both = ["mean", "max", "mean_over_std", 0, 1, 2]
    expected = {"attention": both, "norm": both, "gradient": both, "rollout": ["mean", "max"]}
    for source in va.SOURCES:
        for layer in range(3):
            choices = [choice for name, at, choice in found if (name, at) == (source, layer)]
            assert choices == expected.get(source, [None])


@pytest.mark.parametrize(
    "family", ["cait", "vit_attention_pool", "vit_refining_pool", "tnt", "qwen3_encoder", "naflex"]
)
def test_every_shape_of_model_can_be_taken_along(family):
    model = va.load_model(model_zoo.build(family, model_zoo.WIDE))
    capture = va.capture_attention(model, noise_photo((90, 70)))
    sources = va.SOURCES if capture.class_names else ("attention", "norm", "rollout")
    for source in sources:
        capture = va.complete_capture(model, capture, va.ViewSettings(source=source))
    page = va.export.make_page(model, capture, None, sources)
    found = assert_drawn_by_render_view(page.content, capture, va.ViewSettings())
    for layer in range(capture.num_layers):
        heads = [choice for source, at, choice in found if (source, at) == ("attention", layer)]
        assert [head for head in heads if isinstance(head, int)] == list(range(capture.num_heads(layer)))


def test_layers_without_the_query_show_their_default_one_and_say_so():
    model = va.load_model(model_zoo.build("cait", model_zoo.WIDE))
    capture = va.capture_attention(model, noise_photo((90, 70)))
    patches = [layer.tokens.query_patches for layer in capture.layers]
    assert True in patches
    assert False in patches
    settings = va.ViewSettings(query=(1, 2), layer=patches.index(True))
    found = assert_drawn_by_render_view(va.export.make_page(model, capture, settings).content, capture, settings)
    for (_, layer, _), (sheet, number, *_) in found.items():
        assert ("patch at row 1, col 2" in sheet["captions"][number]) == patches[layer]


def test_a_model_without_classifier_says_so_and_has_no_predictions():
    model = va.load_model(model_zoo.build("qwen3_encoder", model_zoo.WIDE))
    capture = va.capture_attention(model, noise_photo((40, 40)))
    assert b"This model has no classifier." in va.export.make_page(model, capture).content
    with pytest.raises(va.errors.SettingsError, match="no classifier"):
        va.export.make_page(model, capture, None, ["attention", "relevance"])


def test_where_not_every_pixel_fits_the_page_says_what_it_kept(wide_model, wide_capture, monkeypatch):
    whole = va.export.make_page(wide_model, wide_capture)
    monkeypatch.setattr(page_module, "MAX_BYTES", len(whole.content) - 4_000)
    page = va.export.make_page(wide_model, wide_capture)
    assert len(page.content) <= len(whole.content) - 4_000
    assert not PageReader(page.content).facts["maps"]["exact"]
    assert page.samples < page.size == (32, 48)
    assert_drawn_by_render_view(page.content, wide_capture, va.ViewSettings(), page.error)
    said = f"heat off by at most {page.error} of 255 levels, colours by {page.color_error} at opacity 1"
    assert said in page.describe()
    assert said in page.content.decode()
    table = color_table("inferno").astype(int)
    pairs = [(a, b) for a in range(256) for b in range(256) if abs(a - b) <= page.error]
    assert page.color_error == max(np.abs(table[a] - table[b]).max() for a, b in pairs)


def test_the_same_input_gives_the_same_bytes_and_no_date(wide_model, tmp_path):
    photo = noise_photo((80, 150))
    pages = [va.export_page(wide_model, photo, tmp_path / name).content for name in ("a.html", "b.html")]
    assert pages[0] == pages[1] == (tmp_path / "a.html").read_bytes()
    assert not re.search(rb"20\d\d-\d\d-\d\d", pages[0])


def test_nothing_in_the_page_leads_outside(wide_model, wide_capture):
    content = va.export.make_page(wide_model, wide_capture, None, va.SOURCES).content.decode()
    page = PageReader(content.encode())
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
        assert "style" not in attributes  # the policy would block it
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", content)
    assert not re.search(r"^\s*(import|export)\s", page.of(type="module")[0], re.MULTILINE)
    policy = next(found["content"] for tag, found in page.elements if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_text_from_outside_stays_text(tmp_path, wide_model):
    model = replace(wide_model, name=NASTY, class_names=tuple(f"{NASTY}{index}" for index in range(5)))
    capture = va.capture_attention(model, noise_photo((80, 150)))
    content = va.export.make_page(model, capture, None, ["attention", "relevance"], name=NASTY).content
    page = PageReader(content)
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 2 + 2 * 3
    assert not [tag for tag, _ in page.elements if tag == "b"]
    assert NASTY in page.facts["sheets"][0]["captions"][0]
    assert NASTY in "".join(page.of(class_="va-class"))


def test_the_page_names_no_folder_of_this_computer(tmp_path, monkeypatch):
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    weights = tmp_path / "secret" / "weights.safetensors"
    weights.parent.mkdir()
    save_file(timm.create_model("test_vit", num_classes=3).state_dict(), weights)
    model = va.load_model("test_vit", checkpoint=weights)
    photo = tmp_path / "secret" / "cat.jpg"
    photo.write_bytes((SAMPLES / "chelsea.jpg").read_bytes())
    content = va.export_page(model, photo, tmp_path / "page.html", va.ViewSettings(opacity=0.7, head=1)).content
    assert b"secret" not in content
    assert b"cat.jpg" in content

    # beside photo and weights, the recipe draws the picture again
    recipe = json.loads(PageReader(content).of(id="va-recipe")[0])
    monkeypatch.chdir(photo.parent)
    again = va.from_recipe(recipe)
    expected = va.render_view(va.capture_attention(model, photo), va.ViewSettings(layer=-1, opacity=0.7, head=1))
    np.testing.assert_array_equal(again.image, expected.image)


def test_the_code_of_every_map_makes_it(wide_model, wide_capture):
    page = PageReader(
        va.export.make_page(wide_model, wide_capture, va.ViewSettings(query="class"), ["attention", "rollout"]).content
    )
    code = page.facts["code"]
    for sheet in page.facts["sheets"]:
        for number, choice in enumerate(sheet["choices"]):
            line = sheet["code"][number].replace("{opacity}", "0.25")
            lines = "\n".join([code["before"].splitlines()[0], line, code["after"][sheet["source"]]])
            namespace = {"capture": wide_capture, "model": wide_model}
            exec(lines, namespace)
            wanted = settings_of(choice, va.ViewSettings(query="class", opacity=0.25), sheet)
            np.testing.assert_array_equal(namespace["picture"].image, va.render_view(wide_capture, wanted).image)


def test_the_prefix_share_is_that_of_the_heads(wide_model, wide_capture):
    for sheet in PageReader(va.export.make_page(wide_model, wide_capture).content).facts["sheets"]:
        np.testing.assert_allclose(sheet["shares"], wide_capture.prefix_share(sheet["layer"]), atol=5e-5)


@pytest.mark.parametrize(
    ("settings", "sources", "words"),
    [
        (va.ViewSettings(layer=3), None, "layer 3 does not exist"),
        (va.ViewSettings(head=3), None, "head 3 does not exist"),
        (va.ViewSettings(query="dist"), None, "'dist' does not exist"),
        (va.ViewSettings(), ["attention", "saliency"], "'saliency'"),
        (va.ViewSettings(), [], "choose one or more"),
        (va.ViewSettings(), ["rollout"], "opens with source 'attention'"),
    ],
)
def test_what_does_not_exist_is_one_clear_error_and_no_file(wide_model, tmp_path, settings, sources, words):
    with pytest.raises(va.errors.SettingsError, match=words):
        va.export_page(wide_model, noise_photo((80, 150)), tmp_path / "page.html", settings, sources)
    assert not list(tmp_path.iterdir())


# ---- the real model ----


def test_the_real_models_page_is_exact_and_small(real_model, chelsea):
    page = va.export.make_page(real_model, chelsea, name="chelsea.jpg")
    assert len(page.content) <= 3_000_000
    assert (page.maps, page.error) == (72, 0)
    found = maps_of(page.content)
    for layer, choice in ((0, "mean"), (5, 2), (11, "mean_over_std")):
        sheet, _, levels, _ = found["attention", layer, choice]
        heat = va.render_view(chelsea, settings_of(choice, va.ViewSettings(), sheet)).heat
        np.testing.assert_array_equal(levels, np.floor(heat * 255 + 0.5))
    page = PageReader(page.content)
    assert "Egyptian cat" in page.of(class_="va-class")
    assert page.of(class_="va-percent")[0] == f"{100 * chelsea.top(1)[0][1]:.1f}%"


# ---- the command line ----


@pytest.fixture
def loaded(monkeypatch, wide_model):
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: wide_model)


def test_the_command_writes_the_page_that_make_page_makes(loaded, wide_model, tmp_path, capsys):
    out = tmp_path / "page.html"
    photo = str(SAMPLES / "coffee.jpg")
    options = ["--source", "rollout", "--source", "attention", "--layer", "1", "--opacity", "0.4", "--cmap", "magma"]
    assert cli.main(["export", photo, "-o", str(out), *options]) == 0
    settings = va.ViewSettings(source="rollout", layer=1, opacity=0.4, cmap="magma")
    page = va.export.make_page(
        wide_model, va.capture_attention(wide_model, photo), settings, ["rollout", "attention"], "coffee.jpg"
    )
    assert out.read_bytes() == page.content
    printed = capsys.readouterr().out
    assert f"wrote {out}: {page.describe()}" in printed
    assert f"{len(page.content) / 1e6:.2f} MB" in printed
    assert list(tmp_path.iterdir()) == [out]


def test_a_class_is_taken_by_name(loaded, wide_model, tmp_path):
    out = tmp_path / "page.html"
    name = wide_model.class_names[3]
    assert (
        cli.main(["export", str(SAMPLES / "coffee.jpg"), "-o", str(out), "--source", "gradient", "--target", name]) == 0
    )
    assert f"for the class {name} " in PageReader(out.read_bytes()).facts["sheets"][0]["captions"][0]


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
