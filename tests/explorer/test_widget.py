"""The explorer in plain Python: a trait is set, checked against the capture, and drawn when somebody asks."""

import gc
import html
import io
import json
import re
import weakref
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.datasets.samples import SAMPLES
from vitattn_widgets.explorer import library as library_module, views
from vitattn_widgets.explorer.views import CONTROLS
from vitattn_widgets.maps.settings import MAP_FIELDS
from vitattn_widgets.view import arrange
from vitattn_widgets.viewer import store as store_module
from vitattn_widgets.viewer.capsule import make_capsule
from vitattn_widgets.viewer.settings import START

from .lab import PHOTOS, decoded, photo, small_model


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def explorer(model):
    with_two = va.AttentionExplorer(model, PHOTOS)
    yield with_two
    with_two.close()


@pytest.fixture
def draws(monkeypatch):
    """The settings of every picture drawn, in order."""
    seen = []

    def counted(capture, settings=None, limits=None):
        seen.append(settings)
        return va.render_view(capture, settings, limits)

    monkeypatch.setattr(arrange, "render_view", counted)
    return seen


def chosen(**changes):
    """The viewer's first settings on the last layer, with changes."""
    return replace(START, **({"layer": 2} | changes))


def test_with_nothing_given_it_shows_the_default_model_on_the_samples(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    explorer = va.AttentionExplorer()
    assert (explorer.model, explorer.picture, explorer.status) == ("demo", "chelsea", "")
    assert [entry["name"] for entry in explorer._menus["pictures"]] == [sample.name for sample in SAMPLES]
    assert explorer._menus["note"].startswith("This is the embedded model, because the weights of vit_tiny_patch16_224")
    assert decoded(explorer.png()).shape == (160, 160, 3)
    explorer.close()
    named = va.AttentionExplorer("demo", photo(1))
    assert named._menus["note"] == ""
    named.close()
    refused = va.AttentionExplorer(va.models.DEFAULT_MODEL, photo(1))  # which was named
    assert "the weights of vit_tiny_patch16_224 are not on this computer" in refused.status
    assert refused.capture is None
    refused.close()


CHANGES = [
    {"layer": 0},
    {"head": 2},
    {"head": 0, "layer": 1},
    {"aggregation": "max"},
    {"aggregation": "mean_over_std"},
    {"query": (3, 5)},
    {"query": "mean"},
    {"bilinear": False, "median": False, "gaussian": False},
    {"scale": "map"},
    {"scale": "shared", "head": 1},
    {"opacity": 0.2},
    {"cmap": "viridis"},
    {"on": "original"},
    {"blend": "even"},
    {"source": "norm", "head": 1},
    {"source": "rollout", "aggregation": "max"},
    {"source": "gradient", "target": 3, "head": 2},
    {"source": "relevance", "layer": 1},
    {"source": "gradient_late", "target": 0, "sinks": "leave_out"},
    {"sinks": "outline"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_picture_is_what_render_view_draws(explorer, model, changes):
    explorer.set_state(changes)
    settings = chosen(**changes)
    assert explorer.settings == settings
    capture = va.complete_capture(model, va.capture_attention(model, photo(1)), settings)
    wanted = va.render_view(capture, settings)
    assert np.array_equal(explorer.render().image, wanted.image)
    assert explorer.render().caption == wanted.caption
    assert np.array_equal(decoded(explorer.png()), wanted.image)
    assert np.array_equal(va.render_view(explorer.capture, explorer.settings).image, wanted.image)
    assert explorer.status == ""


def test_negative_numbers_count_from_the_end(explorer):
    explorer.set_state({"layer": -2, "head": -1})
    assert (explorer.layer, explorer.head) == (1, 2)


def test_first_values_of_controls_can_be_given(model):
    explorer = va.AttentionExplorer(model, photo(1), layer=1, head=2, cmap="magma")
    assert explorer.settings == chosen(layer=1, head=2, cmap="magma")


def test_a_control_that_does_not_exist_is_refused(model):
    with pytest.raises(va.errors.SettingsError, match="hed"):
        va.AttentionExplorer(model, photo(1), hed=2)


def test_moving_controls_draws_nothing_and_sends_no_picture(explorer, draws, monkeypatch):
    messages = []
    monkeypatch.setattr(explorer, "_send", lambda message, buffers=None: messages.append((message, buffers)))
    for changes in CHANGES:
        explorer.set_state(changes)
    assert draws == []
    assert {message["method"] for message, _ in messages} <= {"echo_update", "update"}
    assert [buffers for _, buffers in messages if buffers] == []
    explorer.render()
    assert len(draws) == 1


def test_a_browser_s_values_are_not_sent_back_as_an_update(explorer, monkeypatch):
    messages = []
    monkeypatch.setattr(explorer, "_send", lambda message, buffers=None: messages.append(message))
    explorer.set_state({"layer": 1, "query": [0, 5], "panels": [explorer_panel(layer=0)]})
    names = {name for message in messages if message["method"] == "update" for name in message["state"]}
    assert names & {*CONTROLS, "panels"} == set()
    assert (explorer.layer, explorer.query) == (1, (0, 5))


def explorer_panel(**changes):
    view = {name: getattr(START, name) for name in MAP_FIELDS}
    return {"model": "small", "picture": "first", **view, "layer": 2, **changes}


def test_an_error_among_several_controls_changed_at_once_is_reported(explorer):
    explorer.set_state({"layer": 1, "head": 9})
    assert "head 9 does not exist" in explorer.status
    assert (explorer.layer, explorer.head) == (2, None)


def test_every_picture_is_run_once_however_the_controls_move(explorer, passes):
    for changes in CHANGES:
        explorer.set_state(changes)
    assert len(passes) == 0  # the first picture was run by the fixture
    for name in ("second", "first", "second"):
        explorer.picture = name
    assert [picture.shape for picture in passes] == [(90, 200, 3)]


def test_choosing_another_picture_shows_it_with_the_same_settings(explorer, model):
    explorer.head, explorer.query = 1, (2, 4)
    explorer.picture = "second"
    assert explorer.settings == chosen(head=1, query=(2, 4))
    assert np.array_equal(explorer.capture.source, PHOTOS["second"])


def test_a_smaller_model_clamps_what_does_not_fit(model):
    other = small_model("other", depth=2, num_heads=2, class_token=False, global_pool="avg", img_size=(64, 64))
    explorer = va.AttentionExplorer([model, other], photo(1), layer=2, head=2, query="class", cmap="magma")
    explorer.model = "other"
    assert explorer.settings == chosen(layer=1, head=1, query=None, cmap="magma")
    assert explorer.status == ""
    wanted = va.render_view(va.capture_attention(other, photo(1)), explorer.settings)
    assert np.array_equal(explorer.render().image, wanted.image)


def test_a_patch_keeps_its_place_in_the_picture_on_another_grid(model):
    other = small_model("other", img_size=(64, 96))  # 8 x 12 patches
    explorer = va.AttentionExplorer([model, other], photo(1), query=(3, 1))
    explorer.model = "other"
    assert explorer.query == (7, 3)
    explorer.model = "small"
    assert explorer.query == (3, 1)


def test_mean_over_std_becomes_mean_where_there_is_one_head(model):
    other = small_model("other", num_heads=1)
    explorer = va.AttentionExplorer([model, other], photo(1), aggregation="mean_over_std")
    explorer.model = "other"
    assert (explorer.aggregation, explorer.status) == ("mean", "")
    explorer.aggregation = "mean_over_std"
    assert "aggregation 'mean_over_std' does not exist for attention in layer 2" in explorer.status
    assert explorer.aggregation == "mean"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("layer", 99, "layer 99 does not exist"),
        ("head", 3, "head 3 does not exist"),
        ("query", (4, 0), "row 0..3, col 0..5"),
        ("query", "dist", "query 'dist' does not exist"),
        ("query", 7, "query 7 does not exist"),
        ("target", 5, "class 5 does not exist"),
        ("aggregation", "median", "possible: mean, max"),
        ("scale", "log", "possible: map"),
        ("opacity", 1.5, "opacity must lie in 0..1"),
        ("cmap", "rainbows", "colour map 'rainbows'"),
        ("on", "moon", "possible: view"),
        ("blend", "fog", "possible: even"),
        ("arrangement", "stacked", "possible: overlay"),
        ("model", "resnet", "there is no model 'resnet'"),
        ("picture", "third", "there is no picture 'third'"),
    ],
)
def test_a_wrong_choice_is_reported_and_the_last_good_one_comes_back(explorer, name, value, words):
    explorer.layer = 1
    settings, capsule, good = explorer.settings, explorer._capsule, getattr(explorer, name)
    setattr(explorer, name, value)
    assert words in explorer.status
    assert (explorer.settings, explorer._capsule, getattr(explorer, name)) == (settings, capsule, good)
    explorer.head = 0
    assert explorer.status == ""
    assert explorer.settings == chosen(layer=1, head=0)


def test_pictures_that_cannot_be_read_are_marked_with_the_reason_and_refused(model, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("this is no picture")
    explorer = va.AttentionExplorer(model, [photo(1), broken, tmp_path / "missing.png", np.zeros((3, 3)), 5])
    reasons = {entry["name"]: entry["reason"] for entry in explorer._menus["pictures"]}
    for name, words in [
        ("broken.png", "not a picture"),
        ("missing.png", "no such file"),
        ("picture 4", "must be uint8"),
        ("picture 5", "got int"),
    ]:
        assert words in reasons[name]
        explorer.picture = name
        assert words in explorer.status
        assert explorer.picture == explorer._capsule["picture"] == "picture 1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_enormous", "timm has no model 'vit_enormous'"),
        ("resnet18", "has no attention map to show: it has no attention layers"),
        ("vit_large_patch16_384", "are not on this computer"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_reported_and_the_last_one_stays(model, name, words):
    explorer = va.AttentionExplorer([model, name], photo(1))
    explorer.model = name
    assert words in explorer.status
    assert explorer.model == explorer._capsule["model"] == "small"
    assert not explorer._busy


def test_an_explorer_whose_first_picture_is_broken_recovers_with_the_next(model, tmp_path):
    explorer = va.AttentionExplorer(model, {"bad": tmp_path / "missing.png", "good": photo(1)})
    assert "no such file" in explorer.status
    assert explorer.capture is None
    explorer.picture = "good"
    assert explorer.status == ""
    assert explorer.settings == chosen()


def test_any_other_exception_is_not_swallowed(explorer, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(views, "fit_settings", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        explorer.layer = 0


def test_models_are_loaded_on_first_use_with_a_message_and_then_kept(model, monkeypatch):
    loads = []
    explorer = va.AttentionExplorer([model, "vit_other"], photo(1))

    def load(name):
        loads.append((name, explorer.status, explorer._busy))
        return small_model(name, num_heads=2)

    monkeypatch.setattr(library_module, "load_model", load)
    for name in ("vit_other", "small", "vit_other"):
        explorer.model = name
    assert loads == [("vit_other", "Loading vit_other ...", True)]
    assert explorer.capture.num_heads() == 2
    assert (explorer.status, explorer._busy) == ("", False)


def test_two_explorers_can_be_linked(explorer, model):
    other = va.AttentionExplorer(model, photo(2))
    traitlets.link((explorer, "layer"), (other, "layer"))
    other.layer = 0
    assert explorer.settings.layer == 0
    explorer.layer = 1
    assert other.settings.layer == 1


def test_observers_hear_of_a_change_after_it_counts(explorer):
    heard = []
    explorer.observe(lambda change: heard.append((change["new"], explorer.settings.layer)), "layer")
    explorer.layer = 0
    assert heard == [(0, 0)]


def test_side_by_side_shows_the_photo_and_the_map_alone(explorer):
    explorer.arrangement = "side by side"
    image = explorer.render().image
    assert np.array_equal(image[:, :48], explorer.capture.view)
    alone = va.render_view(explorer.capture, chosen(opacity=1.0)).image
    assert np.array_equal(image[:, -48:], alone)
    explorer.arrangement = "map"
    assert np.array_equal(explorer.render().image, alone)
    assert explorer.opacity == START.opacity  # kept for the next overlay
    explorer.arrangement = "overlay"
    assert explorer.settings.opacity == START.opacity


def test_large_photos_are_scaled_down_for_readers_without_widgets_and_saved_whole(model):
    large = np.array(Image.fromarray(photo(1)).resize((2400, 1500)))
    explorer = va.AttentionExplorer(model, large, on="original")
    assert decoded(explorer.screen).shape == (640, 1024, 3)
    whole = va.render_view(va.capture_attention(model, large), explorer.settings).image
    assert np.array_equal(decoded(explorer.png()), whole)
    smaller = np.array(Image.fromarray(whole).resize((1024, 640), Image.Resampling.BOX))
    assert np.abs(smaller.astype(int) - decoded(explorer.screen)).mean() < 3


def test_readers_without_widgets_see_the_picture(explorer):
    explorer.layer = 1
    data, _ = explorer._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert np.array_equal(decoded(b64decode(data["image/png"])), explorer.render().image)


def test_a_saved_notebook_holds_the_capsule_of_the_current_photo(explorer, model, tmp_path):
    path = tmp_path / "cat.png"
    Image.fromarray(photo(3)).save(path)
    assert explorer._capsule["content"] == make_capsule(model, explorer.capture, "first")
    assert explorer.get_state()["_capsule"] == explorer._capsule
    explorer.add_picture("mine", path)
    assert (explorer._capsule["model"], explorer._capsule["picture"]) == ("small", "mine")
    assert explorer._capsule["content"] == make_capsule(model, explorer.capture, "mine", str(path))


def test_a_direction_is_a_target_of_its_photo_and_is_reported_when_it_cannot_be():
    model = small_model()
    explorer = va.AttentionExplorer(model, PHOTOS, source="contribution")
    explorer.add_direction("second")
    other = va.capture_attention(model, PHOTOS["second"])
    expected = va.capture.add_direction(model, va.capture_attention(model, PHOTOS["first"]), other, "second")
    assert explorer.target == len(model.class_names)
    assert explorer.capture.directions[0].cosine == pytest.approx(expected.directions[0].cosine)
    settings = va.ViewSettings(source="contribution", target=explorer.target)
    wanted = va.render_view(va.complete_capture(model, expected, settings), explorer.settings)
    np.testing.assert_array_equal(explorer.render().image, wanted.image)
    assert va.from_recipe(explorer.recipe(), model, PHOTOS["first"]).caption == wanted.caption
    assert "va.capture.add_direction(model, capture, like)" in explorer.code()
    explorer.add_direction((0, 3))
    assert explorer.capture.target_names[explorer.target] == "patch 0, 3"
    for wrong, message in (("third.jpg", "third.jpg"), ((9, 9), "no patch (9, 9)"), ((0, 3), "already")):
        with pytest.raises(va.errors.VitattnError, match=re.escape(message)):
            explorer.add_direction(wrong)
    for like in (photo(3), Image.fromarray(photo(3))):
        explorer.add_direction(like, f"noise {len(explorer.capture.directions)}")
    one, two = explorer.capture.directions[-2:]
    assert one.cosine == two.cosine != 1
    explorer.source = "attention"
    explorer.add_direction(np.arange(24.0), "a slope")
    assert (explorer.source, explorer.capture.target_names[explorer.target]) == ("contribution_sum", "a slope")
    explorer.picture = "second"
    assert explorer.target is None
    explorer.picture = "first"
    explorer.target = 6
    assert (explorer.status, explorer.capture.target_names[6]) == ("", "patch 0, 3")


def test_an_explorer_without_pictures_waits_for_an_upload(model):
    explorer = va.AttentionExplorer(model, [])
    assert "upload" in explorer.status
    explorer.add_picture("mine", photo(1))
    assert explorer.settings == chosen()


def test_pictures_get_their_files_names_and_thumbnails(model, tmp_path):
    path = tmp_path / "cat.jpg"
    Image.fromarray(photo(1, (300, 400))).save(path)
    explorer = va.AttentionExplorer(model, [path, str(path), photo(2)])
    pictures = explorer._menus["pictures"]
    assert [entry["name"] for entry in pictures] == ["cat.jpg", "cat.jpg (2)", "picture 3"]
    for entry in pictures:
        head, _, content = entry["thumbnail"].partition(",")
        assert head == "data:image/jpeg;base64"
        assert max(decoded(b64decode(content)).shape) <= 192
    assert repr(str(path)) in explorer.code()


def test_ten_pictures_stay_within_the_byte_budget(model):
    size = va.capture_attention(model, photo(0)).nbytes
    explorer = va.AttentionExplorer(model, [photo(seed) for seed in range(10)], budget=int(3.5 * size))
    for number in range(1, 11):
        explorer.picture = f"picture {number}"
        assert np.array_equal(explorer.capture.source, photo(number - 1))
        assert explorer.store.nbytes <= explorer.store.budget
    assert len(explorer.store) == 3


def test_a_photo_that_the_budget_has_no_room_for_is_run_once(model, passes):
    explorer = va.AttentionExplorer(model, photo(1), budget=0)
    for changes in CHANGES[:14]:
        explorer.set_state(changes)
    explorer.render()
    assert len(passes) == 1


def test_closing_frees_captures_and_models():
    explorer = va.AttentionExplorer(small_model(), [photo(1), photo(2)])
    explorer.picture = "picture 2"
    held = [weakref.ref(explorer.capture), weakref.ref(explorer._now.model)]
    held += [weakref.ref(capture) for capture in explorer.store._kept.values()]
    explorer.close()
    gc.collect()
    assert [reference() for reference in held] == [None] * 4
    assert explorer.capture is None
    assert explorer._capsule == {}
    explorer.layer = 0  # without effect, and without an error
    with pytest.raises(RuntimeError, match="no picture"):
        explorer.png()
    explorer.close()


def test_no_model_is_an_error():
    with pytest.raises(va.errors.SettingsError, match="at least one model"):
        va.AttentionExplorer([], photo(1))


def test_a_class_is_one_backward_pass_however_the_controls_move(explorer, passes, monkeypatch):
    completed = []

    def counted(model, capture, settings):
        completed.append(settings.target)
        return va.complete_capture(model, capture, settings)

    monkeypatch.setattr(store_module, "complete_capture", counted)

    def draw(**changes):
        explorer.set_state(changes)
        explorer.render()

    explorer.source = "gradient"
    assert completed == []  # nobody asked for the map
    for layer in (0, 1, 2):
        draw(layer=layer)
    draw(target=4)
    draw(source="relevance")
    draw(picture="second")
    draw(picture="first")
    draw(target=None)
    assert completed == [None, 4, 4]  # the first photo's prediction, class 4 of the first, class 4 of the second
    assert passes == [PHOTOS["second"]]


def test_mean_over_std_gives_way_to_rollout_and_rollout_refuses_it(explorer):
    explorer.aggregation = "mean_over_std"
    explorer.source = "rollout"
    assert (explorer.source, explorer.aggregation, explorer.status) == ("rollout", "mean", "")
    explorer.aggregation = "mean_over_std"
    assert "aggregation 'mean_over_std' does not exist for rollout in layer 2" in explorer.status
    assert "possible: mean, max" in explorer.status
    assert explorer.aggregation == "mean"


def test_another_model_keeps_the_class_by_name_or_goes_back_to_the_prediction():
    one = replace(small_model("one"), class_names=tuple("abcde"))
    two = replace(small_model("two", num_classes=3), class_names=tuple("xcb"))
    blind = small_model("blind", num_classes=0)
    explorer = va.AttentionExplorer([one, two, blind], photo(1), source="gradient", target=2)
    explorer.model = "two"
    assert explorer.target == 1
    explorer.target = 0
    explorer.model = "one"
    assert (explorer.target, explorer.source) == (None, "gradient")
    explorer.model = "blind"
    assert (explorer.target, explorer.source, explorer.status) == (None, "gradient", "")
    assert "for its feature vector (this model has no classifier)" in explorer.render().caption
    explorer.target = 0
    assert "there is no class 0; maps are of its feature vector" in explorer.status
    assert explorer.target is None


def test_the_check_is_of_what_is_shown(explorer, model):
    explorer.set_state({"source": "gradient", "layer": 1})
    wanted = va.check_map(model, explorer.capture, explorer.settings)
    assert explorer.check().sentences == wanted.sentences
    assert explorer.status == ""


def test_a_check_that_is_impossible_is_an_error_and_reported():
    explorer = va.AttentionExplorer(small_model("blind", num_classes=0), photo(1))
    with pytest.raises(va.errors.SettingsError, match="has no classifier"):
        explorer.check()
    assert "has no classifier" in explorer.status


def test_recipe_and_npz_hold_the_map(explorer, model):
    explorer.set_state({"head": 1, "query": [2, 3], "arrangement": "side by side"})
    wanted = explorer.render()
    recipe = json.loads(json.dumps(explorer.recipe()))
    assert np.array_equal(va.from_recipe(recipe, model=model, picture=photo(1)).image, wanted.image)
    with np.load(io.BytesIO(explorer.npz())) as arrays:
        assert np.array_equal(arrays["grid_map"], wanted.grid_map)
        assert str(arrays["caption"]) == wanted.caption


def test_the_static_explorer_is_the_page_in_a_frame(explorer):
    content = html.unescape(explorer.static(300).data.partition('srcdoc="')[2].partition('"')[0])
    assert content == explorer.page().decode()
    assert (explorer.status, explorer._busy) == ("", False)


def test_code_draws_the_picture_again(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    Image.fromarray(photo(1)).save(path)
    explorer = va.AttentionExplorer("demo", path, source="gradient", layer=1)
    names = {}
    exec(explorer.code(), names)
    assert np.array_equal(names["picture"].image, explorer.render().image)


def test_a_pooling_layer_without_patch_queries_takes_its_own():
    torch.manual_seed(0)
    siglip = replace(
        va.load_model(
            VisionTransformer(
                img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, class_token=False, global_pool="map"
            ).eval()
        ),
        name="pooled",
    )
    explorer = va.AttentionExplorer(siglip, photo(1))
    explorer.layer, explorer.query = 0, (1, 2)
    explorer.layer = 2
    assert (explorer.query, explorer.status) == (None, "")
