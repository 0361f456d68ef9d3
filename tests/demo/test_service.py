"""The page's service as plain calls: what visitors get, and what is kept of theirs."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.demo import checks as checks_module, service as service_module
from vitattn_widgets.demo.controls import Choice
from vitattn_widgets.demo.links import open_link
from vitattn_widgets.demo.service import DemoService, Photo
from vitattn_widgets.demo.uploads import Uploads
from vitattn_widgets.viewer.settings import START

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo
from .lab import MAX_PIXELS, MAX_UPLOAD, SAMPLE, bring, chunks, facts_of, picture_file, png

LIMITS = {"max_upload": MAX_UPLOAD, "max_pixels": MAX_PIXELS, "keep_seconds": 600}
NAMES = ("tabby cat", "Persian cat", "key", "cup", "house")


@pytest.fixture(scope="module")
def cats() -> va.models.AttentionModel:
    module = model_zoo.build("vit", model_zoo.WIDE)
    return replace(va.load_model(module, class_names=NAMES), name="cats")


@pytest.fixture(scope="module")
def several(cats: va.models.AttentionModel):
    """A service with three models: one, the same with other classes, and one without a classifier."""
    names = ("cup", "star", "tabby cat", "fish", "dog")
    turned = replace(va.load_model(model_zoo.build("vit", model_zoo.WIDE, 1), class_names=names), name="turned")
    options = {"patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
    headless = VisionTransformer(img_size=model_zoo.WIDE, num_classes=0, **options)
    service = DemoService([cats, turned, replace(va.load_model(headless), name="headless")], **LIMITS)
    yield service
    service.close()


def upload(service: DemoService, content: bytes, name: str = "photo.png") -> Photo:
    return asyncio.run(bring(service, content, name))


def settings_of(opened: dict) -> va.ViewSettings:
    return va.ViewSettings(**{name: opened["state"][name] for name in va.view.settings.VIEW_FIELDS})


# --- capsules and answers ---


def test_a_capsule_holds_what_a_capture_says(service: DemoService, wide_model: va.models.AttentionModel) -> None:
    photo = upload(service, png(noise_photo((80, 150))), "my/photo.png")
    content = service.capsule(wide_model, photo)
    assert facts_of(content)["picture"]["name"] == "photo.png"
    assert facts_of(content)["picture"]["path"] is None
    capture = va.capture_attention(wide_model, noise_photo((80, 150)))
    tensors = safetensors.numpy.load(content)
    np.testing.assert_array_equal(tensors["layer1.row.class"], capture.attention(1, "class"))
    np.testing.assert_allclose(tensors["probabilities"], capture.probabilities, rtol=1e-5)


def test_a_large_photo_is_kept_at_a_screens_size_and_the_capsule_says_its_own(wide_model) -> None:
    service = DemoService(wide_model, max_upload=20_000_000, max_pixels=3_000_000, keep_seconds=600)
    photo = upload(service, png(noise_photo((1100, 1500))))
    capture = va.capture_attention(wide_model, noise_photo((1100, 1500)))
    assert service.store.nbytes < capture.nbytes
    facts = facts_of(service.capsule(wide_model, photo))["picture"]
    assert facts["size"] == [1500, 1100]
    assert max(facts["photo_size"]) == 1024
    scale = 1500 / facts["photo_size"][0]
    np.testing.assert_allclose(np.array(facts["crop_box"]) * scale, capture.crop_box, rtol=1e-3)
    service.close()


def test_two_visitors_get_the_capsules_of_their_own_photos(
    service: DemoService, wide_model: va.models.AttentionModel
) -> None:
    photos = [upload(service, png(noise_photo((80, 150), seed)), "same name.png") for seed in range(2)]
    for seed, photo in enumerate(photos):
        tensors = safetensors.numpy.load(service.capsule(wide_model, photo))
        wanted = va.capture_attention(wide_model, noise_photo((80, 150), seed)).attention(2)
        np.testing.assert_array_equal(tensors["layer2.row.class"], wanted)


def test_the_capsule_of_a_sample_is_made_once(service: DemoService, wide_model, monkeypatch) -> None:
    made = []
    make = service_module.make_capsule
    monkeypatch.setattr(
        service_module, "make_capsule", lambda *given, **named: made.append(given) or make(*given, **named)
    )
    service._capsules.clear()
    assert service.capsule(wide_model, SAMPLE) == service.capsule(wide_model, SAMPLE)
    assert len(made) == 1


def test_answers_hold_what_was_asked_and_gradients_are_computed_once(
    several: DemoService, cats: va.models.AttentionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = []
    capture_gradients = va.maps.completion.capture_gradients
    monkeypatch.setattr(
        va.maps.completion,
        "capture_gradients",
        lambda *given: backward.append(given[1].gradients) or capture_gradients(*given),
    )
    for layer in (0, 1):
        request = {"need": "maps", "source": "gradient", "layers": [layer], "query": None, "target": 3, "fusion": None}
        tensors = safetensors.numpy.load(several.more(cats, SAMPLE, request))
        settings = va.ViewSettings(layer=layer, source="gradient", target=3)
        capture = va.complete_capture(cats, va.capture_attention(cats, SAMPLES / "chelsea.jpg"), settings)
        wanted = va.maps.attribution.source_maps(capture, settings)
        np.testing.assert_allclose(tensors[f"maps/gradient/{layer}/class/3/-"], wanted.maps, rtol=1e-5, atol=1e-9)
    assert [len(known) for known in backward[::2]] == [0, 1]  # every second one is the test's own


def test_what_was_dropped_from_the_store_is_silently_computed_again(wide_model, passes: list) -> None:
    service = DemoService(wide_model, **LIMITS, budget=0)
    photo = upload(service, png(noise_photo((80, 150))))
    assert service.store.nbytes == 0
    assert service.capsule(wide_model, photo) == service.capsule(wide_model, photo)
    assert len(passes) == 3
    service.close()


def test_a_class_that_opens_one_photo_at_once_runs_the_model_once(
    service: DemoService, wide_model, passes: list
) -> None:
    photo = upload(service, png(noise_photo((80, 150))))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: service.capsule(wide_model, photo), range(32)))) == 1
    assert len(passes) == 1


# --- files ---


@pytest.mark.parametrize("source", ["attention", "gradient_late"])
def test_the_recipe_makes_the_picture_again_from_the_photo_in_its_full_size(
    cats: va.models.AttentionModel, tmp_path: Path, source: str
) -> None:
    service = DemoService(cats, max_upload=20_000_000, max_pixels=3_000_000, keep_seconds=600)
    path = picture_file(tmp_path, size=(1100, 1500))
    settings = va.ViewSettings(layer=1, source=source, target=2, aggregation="max", on="original")
    name, content = service.file(cats, upload(service, path.read_bytes()), Choice(settings), "recipe")
    assert name.startswith("photo-cats-layer1")
    again = va.from_recipe(json.loads(content), model=cats, picture=path)
    wanted = va.render_view(va.complete_capture(cats, va.capture_attention(cats, path), settings), settings)
    np.testing.assert_array_equal(again.image, wanted.image)
    with pytest.raises(va.errors.SettingsError, match="there is no file 'exe'"):
        service.file(cats, SAMPLE, Choice(settings), "exe")
    service.close()


def test_the_recipe_of_a_sample_names_its_file_but_no_folder(service: DemoService, wide_model) -> None:
    _, content = service.file(wide_model, SAMPLE, Choice(), "recipe")
    assert json.loads(content)["picture"]["path"] == "chelsea.jpg"
    assert str(SAMPLES) not in content.decode()


def test_visitors_see_no_folder_of_a_checkpoint(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    weights = tmp_path / "tiny.safetensors"
    save_file(timm.create_model("test_vit", num_classes=4).state_dict(), weights)
    model = va.load_model("test_vit", checkpoint=weights)
    service = DemoService(model, **LIMITS)
    recipe = service.file(model, SAMPLE, Choice(), "recipe")[1]
    assert json.loads(recipe)["model"]["load"]["checkpoint"] == "tiny.safetensors"
    assert len(json.loads(recipe)["model"]["checkpoint_sha256"]) == 64
    for content in (recipe, service.capsule(model, SAMPLE), service.file(model, SAMPLE, Choice(), "page")[1]):
        assert str(tmp_path).encode() not in content
    service.close()


def test_the_offline_page_opens_with_what_was_shown(service: DemoService, wide_model) -> None:
    settings = va.ViewSettings(layer=1, head=2)
    name, content = service.file(wide_model, SAMPLE, Choice(settings), "page")
    assert name == "chelsea-VisionTransformer-layer1-head2.html"
    capture = va.capture_attention(wide_model, SAMPLES / "chelsea.jpg")
    assert content == va.export.page.make_page(wide_model, capture, settings, name="chelsea.jpg").content


# --- links ---


def test_without_a_link_the_viewer_starts_with_the_first_model_and_sample(service: DemoService, wide_model) -> None:
    opened = open_link(service, {})
    assert opened["message"] == ""
    assert opened["state"]["model"] == wide_model.name
    assert opened["state"]["picture"] == opened["library"]["pictures"][0]["name"] == "chelsea"
    assert "CC0" in opened["library"]["pictures"][0]["credit"]
    assert settings_of(opened) == replace(START, layer=2)
    json.dumps(opened)


def test_a_link_restores_sample_model_and_settings(several: DemoService) -> None:
    link = {
        "model": "turned", "sample": "coffee", "layer": "0", "head": "2", "query": "1,4", "smoothing": "median",
        "scale": "shared", "opacity": "0.25", "cmap": "gray", "on": "original", "arrangement": "side by side",
        "source": "gradient", "target": "star", "sinks": "outline", "blend": "even",
    }  # fmt: skip
    opened = open_link(several, link)
    assert opened["message"] == ""
    assert {name: opened["state"][name] for name in ("model", "picture", "arrangement")} == {
        "model": "turned", "picture": "coffee", "arrangement": "side by side",
    }  # fmt: skip
    assert settings_of(opened) == va.ViewSettings(
        layer=0, head=2, query=(1, 4), bilinear=False, gaussian=False, scale="shared", opacity=0.25, cmap="gray",
        on="original", source="gradient", target=1, sinks="outline", blend="even",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ({"model": "vit_huge"}, "; shown instead: cats"),
        ({"sample": "x"}, "; shown instead: chelsea"),
        ({"layer": "99"}, "cats has layers 0..2; shown instead: layer 2"),
        ({"head": "7"}, "; shown instead: all heads"),
        ({"query": "99,99"}, "; shown instead: the default query"),
        ({"source": "relevance", "target": "zzzz"}, "nor one with a similar name; this model has tabby cat, Persian"),
        ({"target": "zzzz"}, "; shown instead: the predicted class"),
        ({"opacity": "9"}, "; shown instead: opacity 0.7"),
        ({"smoothing": "all"}, "; shown instead: bilinear median gaussian"),
        ({"arrangement": "x"}, "; shown instead: overlay"),
        ({"cmap": "x"}, "; shown instead: cmap inferno"),
        ({"model": "vit_huge"}, "there is no model 'vit_huge' here; possible: cats"),
        ({"sample": "../../etc/passwd"}, "there is no sample '../../etc/passwd' here; possible: "),
        ({"layer": "x"}, "layer must be a whole number, got 'x'"),
        ({"layer": "99"}, "layer 99 does not exist"),
        ({"head": "7"}, "head 7 does not exist"),
        ({"query": "99,99"}, "query (99, 99) does not exist"),
        ({"query": "dist"}, "query 'dist' does not exist"),
        ({"opacity": "9"}, "opacity must lie in 0..1"),
        ({"target": "mouse"}, "there is no class 'mouse'; near names: house"),
        ({"target": "cat"}, "class 'cat' matches several classes: tabby cat (0), Persian cat (1)"),
        ({"source": "gradients"}, "source 'gradients' does not exist"),
        ({"smoothing": "all"}, "smoothing must be some of"),
        ({"cmap": "<img src=//evil.example>"}, "colour map '<img src=//evil.example>' does not exist"),
        ({"arrangement": "upside down"}, "arrangement 'upside down' does not exist"),
    ],
)
def test_a_bad_part_of_a_link_falls_back_and_is_reported(several: DemoService, link: dict, message: str) -> None:
    usual = open_link(several, {})["state"]
    opened = open_link(several, link | {"blend": "even"})
    assert message in opened["message"]
    assert opened["state"] == usual | {"blend": "even", "source": opened["state"]["source"]}


def test_a_layer_that_counts_from_the_last_is_said_as_its_number(several: DemoService) -> None:
    opened = open_link(several, {"layer": "-3"})
    assert opened["message"] == "layer -3 counts from the last; shown: layer 0"
    assert opened["state"]["layer"] == 0


def test_all_bad_parts_of_a_link_are_reported_together(several: DemoService) -> None:
    opened = open_link(several, {"model": "headless", "source": "saliency", "query": "pool", "layer": "1"})
    assert opened["state"]["source"] == "attention"
    assert opened["state"]["layer"] == 1
    assert "source 'saliency' does not exist" in opened["message"]
    assert "query 'pool' does not exist" in opened["message"]


@pytest.mark.parametrize(("text", "number"), [("2", 2), ("key", 2), ("KEY", 2), ("persian", 1), ("predicted", None)])
def test_a_class_is_chosen_by_number_name_or_a_part_of_it(several: DemoService, text: str, number: int | None) -> None:
    assert open_link(several, {"source": "relevance", "target": text})["state"]["target"] == number


# --- what is kept of visitors ---


def test_the_photos_time_is_up(wide_model: va.models.AttentionModel) -> None:
    service = DemoService(wide_model, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=3600)
    photo = upload(service, png(noise_photo((80, 150))))
    service.check(wide_model, photo, Choice())
    folder = service.uploads._folder.path
    assert folder.stat().st_mode & 0o077 == 0
    service.uploads.drop_old()
    assert len(list(folder.iterdir())) == len(service.store) == len(service.checks) == 1
    service.uploads._used[photo.key] -= 3601
    service.uploads.drop_old()
    assert list(folder.iterdir()) == []
    assert len(service.store) == len(service.checks) == 0
    with pytest.raises(va.errors.PictureError, match="removed 60 minutes after its last use"):
        service.photo({"photo": photo.key, "name": photo.name})
    service.close()
    assert not folder.exists()


def test_what_is_looked_at_counts_as_used(service: DemoService, wide_model) -> None:
    photo = upload(service, png(noise_photo((80, 150))))
    service.uploads._used[photo.key] -= 599
    service.more(wide_model, photo, {"need": "operands", "layer": 0})
    service.uploads.drop_old()
    assert photo.key in service.uploads


def test_uploads_are_swept_without_being_asked() -> None:
    uploads = Uploads(MAX_UPLOAD, keep_seconds=0.2)
    asyncio.run(uploads.receive(chunks(b"x" * 100), "photo.png"))
    deadline = time.monotonic() + 10
    while len(uploads) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(uploads) == 0
    uploads.close()


def test_the_key_of_a_photo_tells_nothing_to_those_who_have_the_file() -> None:
    content = b"x" * 100
    one, other = Uploads(MAX_UPLOAD), Uploads(MAX_UPLOAD)
    keys = [asyncio.run(uploads.receive(chunks(content), "photo.png")) for uploads in (one, one, other)]
    assert keys[0] == keys[1] != keys[2]
    assert len(one) == 1
    one.close()
    other.close()


# --- models ---


def test_a_model_that_cannot_be_loaded_is_listed_with_the_reason(service: DemoService) -> None:
    opened = open_link(service, {})
    assert "vit_tiny_patch16_384 is not available: the weights" in opened["library"]["note"]
    assert "vit_tiny_patch16_384" not in opened["library"]["models"]
    with pytest.raises(va.errors.ModelError, match="is not available: the weights"):
        service.model("vit_tiny_patch16_384")


def test_the_page_starts_without_any_model() -> None:
    page = va.build_demo(["vit_tiny_patch16_384", "vit_tinny"])
    opened = open_link(page.service, {})
    assert opened["state"] == {}
    assert "are not on this computer" in opened["message"]
    assert "near names" in opened["message"]
    page.service.close()
    with pytest.raises(va.errors.SettingsError, match="at least one model"):
        va.build_demo([])


def test_no_visitor_can_make_the_server_load_a_model(service: DemoService, monkeypatch) -> None:
    monkeypatch.setattr(service_module, "load_model", lambda *_: pytest.fail("loaded"))
    for name in ("vit_base_patch16_224", "hf-hub:timm/vit_base_patch16_224.dino", "local-dir:/", None, 3, [], {}):
        with pytest.raises(va.errors.ModelError, match="there is no model"):
            service.model(name)


def test_a_sample_that_cannot_be_read_is_listed_with_the_reason(wide_model, tmp_path: Path) -> None:
    (tmp_path / "wreck.jpg").write_bytes(b"no picture")
    samples = {"wreck": tmp_path / "wreck.jpg", "gone": tmp_path / "gone.jpg", "good": picture_file(tmp_path)}
    service = DemoService(wide_model, samples, **LIMITS)
    wreck, gone, good = open_link(service, {})["library"]["pictures"]
    assert "not a picture of a known type" in wreck["reason"]
    assert "cannot be read" in gone["reason"]
    assert str(tmp_path) not in wreck["reason"] + gone["reason"]
    assert (good["reason"], good["thumbnail"][:23]) == ("", "data:image/jpeg;base64,")
    assert "not a picture" in open_link(service, {"sample": "wreck"})["message"]
    service.close()


# --- checks ---


def test_a_check_is_that_of_the_photo_in_its_full_size(cats: va.models.AttentionModel, tmp_path: Path) -> None:
    service = DemoService(cats, max_upload=20_000_000, max_pixels=3_000_000, keep_seconds=600)
    path = picture_file(tmp_path, size=(1100, 1500))
    settings = va.ViewSettings(layer=2, source="norm", target=2)
    found = service.check(cats, upload(service, path.read_bytes()), Choice(settings))
    capture = va.complete_capture(cats, va.capture_attention(cats, path), settings)
    assert found == va.check_map(cats, capture, settings).as_json()
    service.close()


def test_a_check_is_made_once_for_each_map(several: DemoService, cats, monkeypatch: pytest.MonkeyPatch) -> None:
    class Checked:
        def as_json(self) -> dict:
            made.append(1)
            return {"number": len(made)}

    made: list[int] = []
    monkeypatch.setattr(checks_module, "check_map", lambda *_, **__: Checked())
    several.checks.clear()
    start = Choice(va.ViewSettings(layer=1, source="gradient", sinks="show"))
    assert several.check(cats, SAMPLE, start) == {"number": 1}
    for name, value in {
        "opacity": 0.9, "cmap": "gray", "on": "original", "scale": "robust", "median": False, "arrangement": "map",
        "sinks": "outline", "blend": "glow", "query": "class",
    }.items():  # fmt: skip
        assert several.check(cats, SAMPLE, start.with_value(name, value)) == {"number": 1}, name
    for number, (name, value) in enumerate({
        "layer": 0, "head": "1", "aggregation": "max", "query": "1,1", "source": "norm", "target": "key",
        "sinks": "leave_out",
    }.items(), start=2):  # fmt: skip
        changed = start.with_value(name, value, NAMES)
        assert several.check(cats, SAMPLE, changed) == {"number": number}, name
    coffee = Photo("coffee", "coffee", sample=True)
    assert several.check(cats, coffee, start) == {"number": 9}
    assert several.check(several.model("turned"), SAMPLE, start) == {"number": 10}
    for number in range(checks_module.MAX_CHECKS):
        several.check(cats, SAMPLE, start.with_value("query", f"{number % 4},{number // 4 % 6}"))
    assert len(several.checks) <= checks_module.MAX_CHECKS


def test_others_continue_while_a_map_is_checked_and_checks_wait_for_each_other(several, cats, monkeypatch) -> None:
    begun, finish, at_once, most, free, left = Event(), Event(), 0, 0, [], []

    class Checked:
        def as_json(self) -> dict:
            return {}

    def slow(*_: object, workers: Callable[[], int]) -> Checked:
        nonlocal at_once, most
        free.append(workers)
        at_once += 1
        most = max(most, at_once)
        begun.set()
        assert finish.wait(20)
        at_once -= 1
        return Checked()

    monkeypatch.setattr(checks_module, "check_map", slow)
    several.checks.clear()
    with ThreadPoolExecutor(2) as pool:
        checks = [pool.submit(several.check, cats, SAMPLE, Choice(va.ViewSettings(layer=layer))) for layer in (0, 1)]
        assert begun.wait(20)
        monkeypatch.setattr(os, "cpu_count", lambda: 4)
        assert free[0]() == 4
        run = several.store.get
        monkeypatch.setattr(several.store, "get", lambda *values: (left.append(free[0]()), run(*values))[1])
        photo = upload(several, png(noise_photo((80, 150), 5)))
        assert several.capsule(cats, photo)
        assert set(left) == {3}  # one core is whose photo is captured
        assert free[0]() == 4
        finish.set()
        assert [check.result(20) for check in checks] == [{}, {}]
    assert most == 1


def test_a_model_without_a_classifier_has_nothing_to_check(several: DemoService) -> None:
    with pytest.raises(va.errors.SettingsError, match="no classifier"):
        several.check(several.model("headless"), SAMPLE, Choice())


def test_thumbnails_are_small_and_upright(service: DemoService, wide_model) -> None:
    import base64
    import io

    photo = asyncio.run(service.receive(chunks(png(noise_photo((400, 200)))), "tall.png"))
    facts = service.admit(wide_model, photo)
    assert facts["photo"] == photo.key
    small = Image.open(io.BytesIO(base64.b64decode(facts["thumbnail"].partition(",")[2])))
    assert small.height == 96
    assert small.width == 48
