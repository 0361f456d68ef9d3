"""Sources, classes, sinks and the check of a map on the page, as plain calls."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from urllib.parse import parse_qsl

import numpy as np
import pytest
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.demo import html as html_module, service as service_module, updates as updates_module
from vitattn_widgets.demo.clicks import follow_click
from vitattn_widgets.demo.controls import PREDICTED, Controls
from vitattn_widgets.demo.service import DemoService
from vitattn_widgets.demo.updates import menus
from vitattn_widgets.demo.visitor import Shown, Visitor
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.viewer import store

from .. import model_zoo
from ..conftest import SAMPLES
from .lab import MAX_PIXELS, MAX_UPLOAD, picture_file

NAMES = ("tabby cat", "Persian cat", "key", "cup", "house")


def named_model(name: str, class_names: tuple[str, ...] | None, seed: int = 0, **options) -> va.models.AttentionModel:
    module = model_zoo.build("vit", model_zoo.WIDE, seed)
    model = va.load_model(module, class_names=class_names)
    return replace(model, name=name, **options)


@pytest.fixture(scope="module")
def cats() -> va.models.AttentionModel:
    return named_model("cats", NAMES)


@pytest.fixture(scope="module")
def headless() -> va.models.AttentionModel:
    """A model without a classifier."""
    options = {"patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
    return replace(va.load_model(VisionTransformer(img_size=model_zoo.WIDE, num_classes=0, **options)), name="headless")


@pytest.fixture
def several(cats: va.models.AttentionModel, headless: va.models.AttentionModel):
    """A service with three models: one, the same with its classes in another order, and one without a classifier."""
    turned = named_model("turned", ("cup", "star", "tabby cat", "fish", "dog"), seed=1)
    service = DemoService([cats, turned, headless], max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600)
    yield service
    service.close()


def completed(model: va.models.AttentionModel, path: Path, settings: va.ViewSettings) -> va.capture.AttentionCapture:
    return va.complete_capture(model, va.capture_attention(model, path), settings)


@pytest.mark.parametrize("source", va.SOURCES)
def test_every_source_is_shown_as_render_view_draws_it(
    several: DemoService, cats: va.models.AttentionModel, source: str
) -> None:
    controls = Controls("cats", layer=1, source=source, target="3", sinks="leave_out", aggregation="max")
    shown = several.take_sample(Visitor(), "chelsea", controls)
    settings = va.ViewSettings(layer=1, source=source, target=3, sinks="leave_out", aggregation="max")
    wanted = va.render_view(completed(cats, SAMPLES / "chelsea.jpg", settings), settings)
    np.testing.assert_array_equal(shown.rendered.image, wanted.image)
    assert shown.rendered.caption == wanted.caption


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), (2, 2), (2.0, 2), ("key", 2), ("KEY", 2), ("persian", 1), (PREDICTED, None)]
)
def test_a_class_is_chosen_by_number_name_or_a_part_of_it(several: DemoService, text, number: int | None) -> None:
    shown = several.take_sample(Visitor(), "chelsea", Controls("cats", source="relevance", target=text))
    assert shown.rendered.settings.target == number
    assert shown.controls.target == (PREDICTED if number is None else str(number))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat", r"matches several classes: tabby cat \(0\), Persian cat \(1\)"),
        ("hous", None),
        ("mouse", "near names: house"),
        ("99", r"this model has classes 0\.\.4"),
    ],
)
def test_a_class_that_is_none_or_several_is_told_with_names(several: DemoService, text: str, words: str | None) -> None:
    controls = Controls("cats", target=text)
    if words is None:
        assert several.take_sample(Visitor(), "chelsea", controls).rendered.settings.target == 4
        return
    with pytest.raises(va.errors.SettingsError, match=words):
        several.take_sample(Visitor(), "chelsea", controls)


def test_a_class_goes_to_another_model_by_its_name(several: DemoService) -> None:
    shown = several.take_sample(Visitor(), "chelsea", Controls("cats", source="gradient", target="tabby"))
    other = several.change(shown.visitor, replace(shown.controls, model="turned"))
    assert other.controls.target == "2"
    assert "for the class tabby cat" in other.rendered.caption
    shown = several.change(shown.visitor, replace(shown.controls, target="key"))
    assert several.change(shown.visitor, replace(shown.controls, model="turned")).controls.target == PREDICTED


def test_a_model_without_a_classifier_shows_what_needs_no_class(several: DemoService) -> None:
    shown = several.take_sample(Visitor(), "chelsea", Controls("cats", source="gradient", target="key"))
    other = several.change(shown.visitor, replace(shown.controls, model="headless"))
    assert (other.controls.source, other.controls.target) == ("attention", PREDICTED)
    offered = menus(other)
    assert [name for _, name in offered["source"]["choices"]] == ["attention", "norm", "rollout"]
    assert "need a class, and this model has no classifier" in offered["source"]["info"]
    assert offered["target"]["info"] == "this model has no classifier"
    assert not any(offered[name]["interactive"] for name in ("target", "use", "try"))
    with pytest.raises(va.errors.SettingsError, match="no classifier"):
        follow_click(several, other.visitor, {"use": "recommended"}, other.controls)
    with pytest.raises(va.errors.SettingsError, match="no classifier"):
        several.check(other.visitor, other.controls)


def test_what_did_the_classifier_use_sets_the_recommended_view(several: DemoService) -> None:
    start = Controls("cats", layer=0, head="1", query="1,1", target="key", opacity=0.3, cmap="gray")
    shown = several.take_sample(Visitor(), "chelsea", start)
    used = follow_click(several, shown.visitor, {"use": "recommended"}, shown.controls).rendered.settings
    assert used == replace(va.ViewSettings.recommended(), layer=2, target=2, opacity=0.3, cmap="gray")


def menus_of(service: DemoService, **changed) -> dict:
    shown = service.take_sample(Visitor(), "chelsea", Controls("cats", **changed))
    json.dumps(menus(shown))
    return menus(shown)


@pytest.mark.parametrize("source", va.SOURCES)
def test_controls_without_a_meaning_rest_and_say_why(several: DemoService, source: str) -> None:
    offered, made = menus_of(several, source=source), CATALOGUE[source]
    for name, why in (("head", made.no_head), ("aggregation", made.no_aggregation), ("target", made.no_class)):
        assert offered[name]["interactive"] == (not why)
        assert not why or offered[name]["info"] == why
    assert made.reference in offered["source"]["info"]
    names = [name for _, name in offered["aggregation"]["choices"]]
    assert ("mean_over_std" in names) == (source != "rollout")
    alone = menus_of(several, source=source, head="1")["aggregation"]
    assert not alone["interactive"] or source == "rollout"


def test_sinks_rest_where_there_is_none(several: DemoService, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitattn_widgets.demo import updates as updates_module

    found = np.zeros((4, 6), bool)
    monkeypatch.setattr(updates_module, "find_sinks", lambda *_: found)
    assert menus_of(several)["sinks"] == {"interactive": False, "info": "no patch of this layer is a sink"}
    found[0, :2] = True
    assert menus_of(several)["sinks"] == {
        "interactive": True,
        "info": "2 patches of this layer draw attention from all patches",
    }


def test_the_class_picker_offers_the_probable_ones_first_and_all_names_once(several: DemoService) -> None:
    first = several.take_sample(Visitor(), "chelsea", Controls("cats"))
    best = int(first.capture.probabilities.argmax())
    choices = menus(first)["target"]["choices"]
    assert choices[0] == (f"predicted: {NAMES[best]}", PREDICTED)
    assert choices[1] == (f"{NAMES[best]} {first.capture.probabilities[best]:.1%}", str(best))
    opened = updates_module.page_updates(several, first, None)
    assert opened["target"]["classes"] == list(NAMES)
    again = several.take_sample(first.visitor, "coffee", first.controls)
    assert "classes" not in updates_module.page_updates(several, again, first.controls)["target"]
    other = several.change(first.visitor, replace(first.controls, model="turned"))
    assert updates_module.page_updates(several, other, first.controls)["target"]["classes"][1] == "star"


def test_a_link_restores_source_class_and_sinks(several: DemoService) -> None:
    shown = several.take_sample(
        Visitor(), "coffee", Controls("cats", source="gradient", target="key", sinks="outline", head="2")
    )
    again, told = several.open(dict(parse_qsl(shown.link)))
    assert told == ""
    assert again.controls == shown.controls
    np.testing.assert_array_equal(again.rendered.image, shown.rendered.image)
    again, told = several.open({"model": "cats", "target": "mouse", "source": "gradients", "sinks": "outline"})
    assert "there is no class 'mouse'" in told
    assert "source 'gradients' does not exist" in told
    assert again.controls.sinks == "outline"


def test_a_link_whose_parts_do_not_go_together_opens_the_page_and_is_told(several: DemoService) -> None:
    shown, told = several.open({"model": "headless", "source": "relevance", "query": "pool", "beside": "compare"})
    assert shown.controls.source == "attention"
    assert told == ""  # fitted like any control
    frozen = va.errors.ModelError("no gradient flows")

    def fail(*_: object) -> None:
        raise frozen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "complete_capture", fail)
        shown, told = several.open({"model": "cats", "source": "relevance"})
    assert shown.controls.source == "attention"
    assert "no gradient flows" in told


def test_downloads_of_a_gradient_source_make_the_same_map(
    several: DemoService, cats: va.models.AttentionModel, tmp_path
) -> None:
    path = picture_file(tmp_path)
    controls = Controls("cats", source="gradient_late", target="key", sinks="leave_out")
    shown = several.bring(Visitor(), path, "photo.png", controls)
    _, npz = several.download(shown.visitor, shown.controls, "npz")
    with np.load(io.BytesIO(npz)) as found:
        np.testing.assert_array_equal(found["grid_map"], shown.rendered.grid_map)
    _, recipe = several.download(shown.visitor, shown.controls, "json")
    again = va.from_recipe(json.loads(recipe), model=cats, picture=path)
    np.testing.assert_array_equal(again.image, shown.rendered.image)


def test_a_class_that_asks_for_gradients_at_once_gets_one_backward_pass_a_photo(
    cats: va.models.AttentionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, made, count = 0, 0, [], Lock()

    def watched(model, capture, settings):
        nonlocal at_once, most
        with count:
            at_once += 1
            most = max(most, at_once)
        try:
            return va.complete_capture(model, capture, settings)
        finally:
            with count:
                at_once -= 1
                made.append(capture.source.tobytes())

    monkeypatch.setattr(store, "complete_capture", watched)
    one = va.capture_attention(cats, picture_file(tmp_path)).nbytes
    budget = 9 * one  # gradients count: fewer captures fit with them than without
    service = DemoService(cats, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600, budget=budget)
    paths = [picture_file(tmp_path, seed, name=f"{seed}.png") for seed in range(4)]
    settings = va.ViewSettings(layer=2, source="gradient_late")
    wanted = [va.render_view(completed(cats, path, settings), settings).image for path in paths]

    def visit(number: int) -> None:
        path = paths[number % 4]
        shown = service.bring(Visitor(), path, path.name, Controls("cats"))
        shown = service.change(shown.visitor, replace(shown.controls, source="gradient_late"))
        np.testing.assert_array_equal(shown.rendered.image, wanted[number % 4])
        assert service.store.nbytes <= budget

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(32)))
    assert most == 1
    assert len(made) == len(set(made)) == 4
    service.close()


# --- is this map worth anything? ---


def test_a_check_is_that_of_the_photo_in_its_full_size(cats: va.models.AttentionModel, tmp_path: Path) -> None:
    service = DemoService(cats, max_upload=20_000_000, max_pixels=3_000_000, keep_seconds=600)
    path = picture_file(tmp_path, size=(1100, 1500))
    shown = service.bring(Visitor(), path, "large.png", Controls("cats", source="norm", target="key"))
    mark, check = service.check(shown.visitor, shown.controls)
    settings = va.ViewSettings(layer=2, source="norm", target=2)
    wanted = va.check_map(cats, completed(cats, path, settings), settings)
    assert mark == shown.visitor.map
    assert check.sentences == wanted.sentences
    np.testing.assert_array_equal(check.deletion["map"], wanted.deletion["map"])
    assert np.isfinite(wanted.similarity)
    assert check.similarity == wanted.similarity  # of exactly the pixels that the model saw
    html = html_module.checked(check)
    assert all(sentence in html for sentence in check.sentences)
    service.close()


def remapped(service: DemoService, shown: Shown, **changed) -> bool:
    """Whether a change removes the check of the last map."""
    sent = replace(shown.controls, **changed)
    updates = updates_module.page_updates(service, service.change(shown.visitor, sent), sent)
    return updates["check"] == {"value": ""}


def test_a_check_goes_with_its_map_and_stays_when_it_is_only_drawn_otherwise(several: DemoService) -> None:
    shown = several.take_sample(Visitor(), "chelsea", Controls("cats", source="gradient", sinks="show"))
    for name, value in {
        "opacity": 0.9, "cmap": "gray", "on": "original", "scale": "robust", "smoothing": ["median"],
        "arrangement": "map", "sinks": "outline", "beside": "compare",
    }.items():  # fmt: skip
        assert not remapped(several, shown, **{name: value}), name
    for name, value in {
        "layer": 0, "head": "1", "aggregation": "max", "query": "1,1", "source": "norm", "target": "key",
        "sinks": "leave_out", "model": "turned",
    }.items():  # fmt: skip
        assert remapped(several, shown, **{name: value}), name
    plain = several.take_sample(Visitor(), "chelsea", Controls("cats"))
    assert not remapped(several, plain, target="key")  # plain attention does not depend on it
    assert several.take_sample(plain.visitor, "coffee", plain.controls).remapped


def test_others_go_on_while_a_map_is_checked_and_checks_wait_for_each_other(several: DemoService, monkeypatch) -> None:
    shown = several.take_sample(Visitor(), "chelsea", Controls("cats"))
    begun, go_on, at_once, most = Event(), Event(), 0, 0

    def slow(*_: object) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        begun.set()
        assert go_on.wait(20)
        at_once -= 1
        return "checked"

    monkeypatch.setattr(service_module, "check_map", slow)
    with ThreadPoolExecutor(2) as pool:
        checks = [pool.submit(several.check, shown.visitor, shown.controls) for _ in range(2)]
        assert begun.wait(20)
        moved = several.change(shown.visitor, replace(shown.controls, layer=0, source="gradient"))
        assert several.take_sample(moved.visitor, "coffee", moved.controls).recaptured
        go_on.set()
        assert [made for _, made in (check.result(20) for check in checks)] == ["checked"] * 2
    assert most == 1


def test_a_capture_that_is_not_kept_costs_one_forward_pass_a_change(
    cats: va.models.AttentionModel, passes: list
) -> None:
    service = DemoService(cats, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600, budget=0)
    shown = service.take_sample(Visitor(), "chelsea", Controls("cats"))
    assert len(passes) == 1
    service.change(shown.visitor, replace(shown.controls, layer=0, source="rollout"))
    assert len(passes) == 2
    service.close()
