"""The explorer in plain Python: a trait is set, and the picture on the screen is what render_view draws."""

import gc
import io
import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.errors import SettingsError
from vitattn_widgets.explorer import library as library_module, messages as messages_module, payload
from vitattn_widgets.export.page import make_page
from vitattn_widgets.view import arrange
from vitattn_widgets.view.drawing import color_map, scale_map
from vitattn_widgets.viewer import store as store_module

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
def redraws(monkeypatch):
    """The settings of every redraw, in order."""
    seen = []

    def counted(capture, settings=None, limits=None):
        seen.append(settings)
        return va.render_view(capture, settings, limits)

    monkeypatch.setattr(arrange, "render_view", counted)
    return seen


CHANGES = [
    {"layer": 0},
    {"layer": -2},
    {"head": 2},
    {"head": 0, "layer": 1},
    {"aggregation": "max"},
    {"aggregation": "mean_over_std"},
    {"query": (3, 5)},
    {"query": "mean"},
    {"bilinear": False, "median": False, "gaussian": False},
    {"scale": "robust"},
    {"scale": "shared", "head": 1},
    {"opacity": 0.2},
    {"cmap": "viridis"},
    {"on": "original"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_picture_on_the_screen_is_what_render_view_draws(explorer, changes):
    before = explorer.screen
    for name, value in changes.items():
        setattr(explorer, name, value)
    wanted = va.render_view(explorer.capture, va.ViewSettings(**changes))
    assert np.array_equal(decoded(explorer.screen), wanted.image)
    assert explorer.screen != before
    assert np.array_equal(decoded(explorer.png()), wanted.image)
    assert np.frombuffer(explorer._shown["values"], "<f4").reshape(4, 6).tolist() == wanted.grid_map.tolist()
    assert explorer._shown["range"] == wanted.value_range
    assert explorer.status == ""


def test_first_values_of_controls_can_be_given(model):
    explorer = va.AttentionExplorer(model, photo(1), layer=1, head=2, cmap="magma")
    wanted = va.render_view(va.capture_attention(model, photo(1)), va.ViewSettings(layer=1, head=2, cmap="magma"))
    assert np.array_equal(decoded(explorer.screen), wanted.image)


def test_a_control_that_does_not_exist_is_refused(model):
    with pytest.raises(va.errors.SettingsError, match="hed"):
        va.AttentionExplorer(model, photo(1), hed=2)


def test_one_change_redraws_once(explorer, redraws):
    explorer.layer = 0
    assert [settings.layer for settings in redraws] == [0]
    explorer.layer = 0
    assert len(redraws) == 1


def test_several_controls_changed_at_once_redraw_once(explorer, redraws):
    explorer.set_state({"layer": 1, "head": 2, "query": [0, 5]})  # as one message from the browser
    assert redraws == [va.ViewSettings(layer=1, head=2, query=(0, 5))]
    assert (explorer.layer, explorer.head, explorer.query) == (1, 2, (0, 5))


def test_an_error_among_several_controls_changed_at_once_is_told(explorer, redraws):
    explorer.set_state({"layer": 1, "head": 9})
    assert "head 9 does not exist" in explorer.status
    assert (explorer.layer, explorer.head) == (2, None)


def test_a_moved_control_is_answered_with_one_message_that_holds_picture_and_caption(explorer, monkeypatch):
    messages = []
    monkeypatch.setattr(explorer, "_send", lambda message, buffers=None: messages.append((message, buffers)))
    explorer.set_state({"layer": 0})
    updates = [(message, buffers) for message, buffers in messages if message["method"] == "update"]
    assert len(updates) == 1
    message, buffers = updates[0]
    assert "layer 0 of" in message["state"]["_shown"]["caption"]
    assert explorer.screen in [bytes(buffer) for buffer in buffers]


def test_every_picture_is_run_once_however_the_controls_move(explorer, passes):
    for changes in CHANGES:
        for name, value in changes.items():
            setattr(explorer, name, value)
    assert len(passes) == 0  # the first picture was run by the fixture
    for name in ("second", "first", "second"):
        explorer.picture = name
    assert [picture.shape for picture in passes] == [(90, 200, 3)]


def test_choosing_another_picture_shows_it_with_the_same_settings(explorer, model):
    explorer.head, explorer.query = 1, (2, 4)
    explorer.picture = "second"
    capture = va.capture_attention(model, photo(2, (90, 200)))
    wanted = va.render_view(capture, va.ViewSettings(layer=2, head=1, query=(2, 4)))
    assert np.array_equal(decoded(explorer.screen), wanted.image)


def test_a_smaller_model_clamps_what_does_not_fit_and_redraws_once(model, redraws):
    other = small_model("other", depth=2, num_heads=2, class_token=False, global_pool="avg", img_size=(64, 64))
    explorer = va.AttentionExplorer([model, other], photo(1), layer=2, head=2, query="class", cmap="magma")
    redraws.clear()
    explorer.model = "other"
    assert redraws == [va.ViewSettings(layer=1, head=1, query=None, cmap="magma")]
    assert (explorer.layer, explorer.head, explorer.query, explorer.status) == (1, 1, None, "")
    wanted = va.render_view(va.capture_attention(other, photo(1)), redraws[0])
    assert np.array_equal(decoded(explorer.screen), wanted.image)


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
    assert "at least two heads" in explorer.status
    assert explorer.aggregation == "mean"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("layer", 99, "layer 99 does not exist"),
        ("head", 3, "head 3 does not exist"),
        ("query", (4, 0), "row 0..3, col 0..5"),
        ("query", "dist", "query 'dist' does not exist"),
        ("query", 7, "query 7 does not exist"),
        ("aggregation", "median", "possible: mean, max"),
        ("scale", "log", "possible: map"),
        ("opacity", 1.5, "opacity must lie in 0..1"),
        ("cmap", "rainbows", "colour map 'rainbows'"),
        ("on", "moon", "possible: view"),
        ("arrangement", "stacked", "possible: overlay"),
        ("model", "resnet", "there is no model 'resnet'"),
        ("picture", "third", "there is no picture 'third'"),
    ],
)
def test_a_wrong_choice_is_told_and_the_last_good_picture_stays(explorer, name, value, words):
    explorer.layer = 1
    screen, good = explorer.screen, getattr(explorer, name)
    setattr(explorer, name, value)
    assert words in explorer.status
    assert explorer.screen == screen
    assert getattr(explorer, name) == good
    explorer.head = 0
    assert explorer.status == ""
    wanted = va.render_view(explorer.capture, va.ViewSettings(layer=1, head=0))
    assert np.array_equal(decoded(explorer.screen), wanted.image)


def test_pictures_that_cannot_be_read_are_told_when_they_are_chosen(model, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("this is no picture")
    explorer = va.AttentionExplorer(model, [photo(1), broken, tmp_path / "missing.png", np.zeros((3, 3)), 5])
    screen = explorer.screen
    for name, words in [
        ("broken.png", "not a picture"),
        ("missing.png", "no such file"),
        ("picture 4", "must be uint8"),
        ("picture 5", "got int"),
    ]:
        explorer.picture = name
        assert words in explorer.status
        assert explorer.picture == "picture 1"
        assert explorer.screen == screen


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_enormous", "timm has no model 'vit_enormous'"),
        ("resnet18", "has no attention map to show: it has no attention layers"),
        ("vit_large_patch16_384", "could not be downloaded"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told_and_the_last_one_stays(model, name, words):
    explorer = va.AttentionExplorer([model, name], photo(1))
    shown = explorer.screen
    explorer.model = name
    assert words in explorer.status
    assert explorer.model == "small"
    assert explorer.screen == shown
    assert not explorer._busy


def test_an_explorer_whose_first_picture_is_broken_recovers_with_the_next(model, tmp_path):
    explorer = va.AttentionExplorer(model, {"bad": tmp_path / "missing.png", "good": photo(1)})
    assert "no such file" in explorer.status
    assert explorer.capture is None
    explorer.picture = "good"
    assert explorer.status == ""
    assert np.array_equal(decoded(explorer.screen), va.render_view(explorer.capture).image)


def test_any_other_exception_is_not_swallowed(explorer, monkeypatch):
    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(arrange, "render_view", fail)
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
    assert explorer.layer == 0
    assert explorer.settings.layer == 0
    explorer.layer = 1
    assert other.settings.layer == 1


def test_observers_hear_of_a_change_after_it_is_shown(explorer):
    heard = []
    explorer.observe(lambda change: heard.append((change["new"], explorer.settings.layer)), "layer")
    explorer.layer = 0
    assert heard == [(0, 0)]


def overview_cells(explorer):
    image = decoded(explorer._overview["image"])
    height, width = explorer._overview["cell"]
    heads, layers = image.shape[0] // height, image.shape[1] // width
    return image.reshape(heads, height, layers, width, 3).transpose(2, 0, 1, 3, 4)  # layer head row col color


@pytest.mark.parametrize("query", [None, (3, 5), "mean"])
def test_the_overview_shows_every_layer_and_head(explorer, query):
    explorer.query = query
    cells = overview_cells(explorer)
    assert cells.shape == (3, 3, 4, 6, 3)
    for layer in range(3):
        for head in range(3):
            grid_map = explorer.capture.patch_attention(layer, query)[head]
            wanted = color_map(scale_map(grid_map, (grid_map.min(), grid_map.max())))
            assert np.abs(cells[layer, head].astype(int) - wanted).max() <= 3  # rounding of one step of 256 colours


def test_the_overview_is_drawn_once_a_capture_and_query(explorer, monkeypatch):
    drawn = []

    def counted(capture, query, cmap):
        drawn.append(query)
        return va.view.render_overview(capture, query, cmap)

    monkeypatch.setattr(payload, "render_overview", counted)
    explorer.layer, explorer.head, explorer.opacity, explorer.median = 0, 1, 0.3, False
    assert drawn == []
    explorer.query = (1, 2)
    explorer.layer = 2
    explorer.picture = "second"
    assert drawn == [(1, 2), (1, 2)]


def test_the_overview_shows_a_default_where_a_layer_lacks_the_query():
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
    assert explorer.settings.layer == 2
    explorer.layer, explorer.query = 0, (1, 2)
    assert overview_cells(explorer).shape[:2] == (3, 3)
    explorer.layer = 2  # the pooling layer, which has no patch queries
    assert (explorer.query, explorer.status) == (None, "")


def test_side_by_side_shows_the_photo_and_the_map_alone(explorer):
    explorer.arrangement = "side by side"
    image = decoded(explorer.screen)
    assert np.array_equal(image[:, :48], explorer.capture.view)
    alone = va.render_view(explorer.capture, va.ViewSettings(opacity=1.0)).image
    assert np.array_equal(image[:, -48:], alone)
    first, second = explorer._shown["boxes"]
    assert first == (0, 0, 48, 32)
    assert second == (image.shape[1] - 48, 0, image.shape[1], 32)
    explorer.arrangement = "map"
    assert np.array_equal(decoded(explorer.screen), alone)
    assert explorer.opacity == 0.5  # kept for the next overlay
    explorer.arrangement = "overlay"
    assert explorer.settings.opacity == 0.5


def test_boxes_say_where_the_view_lies_in_the_whole_photo(explorer):
    explorer.on = "original"
    (box,) = explorer._shown["boxes"]
    assert box == explorer.capture.crop_box
    explorer.arrangement = "side by side"
    width = decoded(explorer.screen).shape[1]
    first, second = explorer._shown["boxes"]
    assert first == box
    assert second[2] - first[2] == width - explorer.capture.source.shape[1]


def test_large_photos_are_scaled_down_for_the_screen_and_saved_whole(model):
    large = np.array(Image.fromarray(photo(1)).resize((2400, 1500)))
    explorer = va.AttentionExplorer(model, large, on="original")
    assert decoded(explorer.screen).shape == (640, 1024, 3)
    assert explorer._shown["mime"] == "image/jpeg"
    whole = va.render_view(va.capture_attention(model, large), va.ViewSettings(on="original")).image
    assert np.array_equal(decoded(explorer.png()), whole)
    smaller = np.array(Image.fromarray(whole).resize((1024, 640), Image.Resampling.BOX))
    difference = np.abs(smaller.astype(int) - decoded(explorer.screen))
    assert difference.mean() < 3


def upload(explorer, name, content, size):
    parts = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    for number, part in enumerate(parts, 1):
        message = {"kind": "upload", "id": "1", "name": name, "last": number == len(parts)}
        explorer._handle_custom_msg(message, [memoryview(part)])


def test_an_uploaded_picture_is_added_and_chosen(explorer):
    stream = io.BytesIO()
    Image.fromarray(photo(3)).save(stream, "PNG")
    upload(explorer, "mine.png", stream.getvalue(), 1000)
    assert explorer.picture == "mine.png"
    assert np.array_equal(explorer.capture.source, photo(3))
    assert [entry["name"] for entry in explorer._menus["pictures"]] == ["first", "second", "mine.png"]
    upload(explorer, "mine.png", stream.getvalue(), 10**9)
    assert explorer.picture == "mine.png (2)"


@pytest.mark.parametrize(("content", "words"), [(b"", "the file is empty"), (b"no picture at all", "not a picture")])
def test_an_upload_that_is_no_picture_is_told_and_not_added(explorer, content, words):
    screen = explorer.screen
    upload(explorer, "mine.png", content, 1000)
    assert f"mine.png: {words}" in explorer.status
    assert (explorer.picture, explorer.screen) == ("first", screen)
    assert len(explorer._menus["pictures"]) == 2


def test_an_upload_without_end_does_not_fill_the_memory(explorer, monkeypatch):
    monkeypatch.setattr(messages_module, "UPLOAD_LIMIT", 1000)
    for _ in range(50):
        explorer._handle_custom_msg({"kind": "upload", "id": "1", "name": "x", "last": False}, [bytes(300)])
    assert explorer._uploads.nbytes <= 1000
    explorer._handle_custom_msg({"kind": "upload", "id": "1", "name": "x", "last": True}, [bytes(300)])
    assert "not a picture" in explorer.status


def test_an_explorer_without_pictures_waits_for_an_upload(model):
    explorer = va.AttentionExplorer(model)
    assert "upload" in explorer.status
    explorer.add_picture("mine", photo(1))
    assert np.array_equal(decoded(explorer.screen), va.render_view(explorer.capture).image)


def test_downloads_hold_the_picture_the_raw_map_and_the_recipe(explorer, model, monkeypatch):
    sent = {}

    def keep(content, buffers):
        sent[content["name"]] = bytes(buffers[0])

    monkeypatch.setattr(explorer, "send", keep)
    explorer.head, explorer.query = 1, (2, 3)
    for what in ("png", "npz", "recipe", "page"):
        explorer._handle_custom_msg({"kind": "download", "what": what}, [])
    name = "first-small-layer2-head1"
    wanted = va.render_view(explorer.capture, explorer.settings)
    assert np.array_equal(decoded(sent[f"{name}.png"]), wanted.image)
    with np.load(io.BytesIO(sent[f"{name}.npz"])) as arrays:
        assert np.array_equal(arrays["grid_map"], wanted.grid_map)
        assert str(arrays["caption"]) == wanted.caption
    recipe = json.loads(sent[f"{name}.json"])
    assert np.array_equal(va.from_recipe(recipe, model=model, picture=photo(1)).image, wanted.image)
    assert sent[f"{name}.html"] == make_page(model, explorer.capture, explorer.settings, name="first").content
    assert not explorer.status
    assert not explorer._busy


def test_a_page_that_cannot_be_made_is_told_in_the_status_line(explorer, monkeypatch):
    def refuse(*_, **__):
        raise SettingsError("more maps than fit")

    monkeypatch.setattr("vitattn_widgets.explorer.widget.make_page", refuse)
    monkeypatch.setattr(explorer, "send", lambda *_: pytest.fail("nothing is to be sent"))
    explorer._handle_custom_msg({"kind": "download", "what": "page"}, [])
    assert explorer.status == "more maps than fit"
    assert not explorer._busy


def test_pictures_get_their_files_names_and_thumbnails(model, tmp_path):
    path = tmp_path / "cat.jpg"
    Image.fromarray(photo(1, (300, 400))).save(path)
    explorer = va.AttentionExplorer(model, [path, str(path), photo(2)])
    pictures = explorer._menus["pictures"]
    assert [entry["name"] for entry in pictures] == ["cat.jpg", "cat.jpg (2)", "picture 3"]
    assert all(max(decoded(entry["thumbnail"]).shape) <= 192 for entry in pictures)
    assert repr(str(path)) in explorer.code()


def test_ten_pictures_stay_within_the_byte_budget(model):
    size = va.capture_attention(model, photo(0)).nbytes
    explorer = va.AttentionExplorer(model, [photo(seed) for seed in range(10)], budget=int(3.5 * size))
    for number in range(1, 11):
        explorer.picture = f"picture {number}"
        assert np.array_equal(explorer.capture.source, photo(number - 1))
        assert explorer.store.nbytes <= explorer.store.budget
    assert len(explorer.store) == 3


def test_closing_frees_captures_and_models():
    explorer = va.AttentionExplorer(small_model(), [photo(1), photo(2)])
    explorer.picture = "picture 2"
    held = [weakref.ref(explorer.capture), weakref.ref(explorer._now.model)]
    held += [weakref.ref(capture) for capture in explorer.store._kept.values()]
    explorer.close()
    gc.collect()
    assert [reference() for reference in held] == [None] * 4
    assert explorer.capture is None
    explorer.layer = 0  # without effect, and without an error
    with pytest.raises(RuntimeError, match="no picture"):
        explorer.png()


def test_no_model_is_an_error():
    with pytest.raises(va.errors.SettingsError, match="at least one model"):
        va.AttentionExplorer([], photo(1))


SOURCE_CHANGES = [
    {"source": "norm", "head": 1},
    {"source": "rollout", "aggregation": "max"},
    {"source": "gradient", "target": 3, "head": 2},
    {"source": "relevance", "layer": 1},
    {"source": "gradient_late", "target": 0, "sinks": "leave_out"},
    {"sinks": "outline"},
]


@pytest.mark.parametrize("changes", SOURCE_CHANGES, ids=str)
def test_every_source_on_the_screen_is_what_render_view_draws(explorer, model, changes):
    explorer.set_state(changes)
    settings = va.ViewSettings(layer=changes.get("layer", 2), **{k: v for k, v in changes.items() if k != "layer"})
    assert explorer.settings == settings
    wanted = va.render_view(va.complete_capture(model, va.capture_attention(model, photo(1)), settings), settings)
    assert np.array_equal(decoded(explorer.screen), wanted.image)
    assert explorer._shown["caption"] == wanted.caption
    assert explorer.status == ""


def test_a_class_is_one_backward_pass_however_the_controls_move(explorer, passes, monkeypatch):
    completed = []

    def counted(model, capture, settings):
        completed.append(settings.target)
        return va.complete_capture(model, capture, settings)

    monkeypatch.setattr(store_module, "complete_capture", counted)
    explorer.source = "gradient"
    for layer in (0, 1, 2):
        explorer.layer = layer
    explorer.target = 4
    explorer.source = "relevance"
    explorer.picture = "second"
    explorer.picture = "first"
    explorer.target = None
    assert completed == [None, 4, 4]  # the first photo's prediction, class 4 of the first, class 4 of the second
    assert passes == [explorer._library.pictures["second"]]


def test_mean_over_std_gives_way_to_rollout_and_rollout_refuses_it(explorer):
    explorer.aggregation = "mean_over_std"
    explorer.source = "rollout"
    assert (explorer.source, explorer.aggregation, explorer.status) == ("rollout", "mean", "")
    explorer.aggregation = "mean_over_std"
    assert "rollout fuses the heads of every layer by mean or max" in explorer.status
    assert explorer.aggregation == "mean"


def test_a_class_that_does_not_exist_is_told_and_the_last_one_comes_back(explorer):
    explorer.source, explorer.target = "gradient", 2
    explorer.target = 5
    assert "class 5 does not exist" in explorer.status
    assert explorer.target == 2


def test_another_model_keeps_the_class_by_name_or_goes_back_to_the_prediction():
    one = replace(small_model("one"), class_names=tuple("abcde"))
    two = replace(small_model("two", num_classes=3), class_names=tuple("xcb"))
    blind = small_model("blind", num_classes=0)
    explorer = va.AttentionExplorer([one, two, blind], photo(1), source="gradient", target=2)
    explorer.model = "two"
    assert (explorer.target, explorer._classes) == (1, list("xcb"))
    explorer.target = 0
    explorer.model = "one"
    assert (explorer.target, explorer.source) == (None, "gradient")
    explorer.model = "blind"
    assert (explorer.target, explorer.source, explorer._classes, explorer.status) == (None, "attention", [], "")
    explorer.source = "relevance"
    assert "has no classifier" in explorer.status
    assert explorer.source == "attention"


def test_the_browser_is_told_why_a_control_is_without_effect(explorer):
    facts = explorer._menus["sources"]
    assert list(facts) == list(va.SOURCES)
    assert facts["attention"]["noClass"] == "plain attention does not depend on the class"
    assert facts["gradient"]["noClass"] == facts["gradient"]["noHead"] == ""
    assert facts["relevance"]["noHead"]
    assert facts["relevance"]["noAggregation"]
    assert facts["rollout"]["aggregations"] == ("mean", "max")
    assert explorer._classes == list(explorer.capture.class_names)
    assert explorer._facts["order"][0] == explorer.capture.probabilities.argmax()
    assert explorer._facts["likely"][0] == explorer.capture.probabilities.max()


def test_the_check_of_what_is_shown_reaches_the_browser_and_goes_with_the_map(explorer, model):
    explorer.set_state({"source": "gradient", "layer": 1})
    check = explorer.check()
    wanted = va.check_map(model, explorer.capture, explorer.settings)
    assert check.sentences == wanted.sentences == explorer._check["sentences"]
    assert decoded(explorer._check["image"]).shape[2] == 3
    assert explorer.status == ""
    explorer.layer = 2
    assert explorer._check == {}


def test_the_browser_can_ask_for_the_check_and_is_told_where_there_is_none():
    explorer = va.AttentionExplorer(small_model("blind", num_classes=0), photo(1))
    explorer._receive(None, {"kind": "check"}, [])
    assert "has no classifier" in explorer.status
    assert explorer._check == {}


def test_one_button_asks_what_the_classifier_used(explorer):
    explorer.set_state({"layer": 0, "head": 1, "query": (1, 2)})
    explorer.set_state(dict(explorer._menus["recommended"]))
    wanted = va.ViewSettings.recommended()
    assert explorer.settings == replace(wanted, layer=2)
    assert "sum" in explorer._shown["caption"]
