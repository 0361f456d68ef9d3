"""The store of captures: one forward pass for all callers, within a budget of bytes."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.viewer import store as store_module


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return va.load_model(VisionTransformer(img_size=(32, 48), patch_size=8, embed_dim=24, depth=3, num_heads=3).eval())


def photo(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)


def test_a_photo_is_run_once_and_kept(model, passes):
    store = va.viewer.CaptureStore()
    first = store.get(model, "a", lambda: photo(1))
    assert store.get(model, "a", lambda: photo(1)) is first
    assert len(passes) == 1
    assert np.array_equal(first.source, photo(1))


def test_the_least_recently_used_capture_is_dropped_beyond_the_budget(model, passes):
    size = va.capture_attention(model, photo(0), answers=True).nbytes
    store = va.viewer.CaptureStore(int(2.5 * size))
    for name in "ab":
        store.get(model, name, lambda name=name: photo(ord(name)))
    store.get(model, "a", lambda: photo(ord("a")))  # now "b" is the oldest
    store.get(model, "c", lambda: photo(ord("c")))
    assert [(model, name) in store for name in "abc"] == [True, False, True]
    assert len(passes) == 3


def test_ten_photos_never_take_more_than_the_budget(model):
    size = va.capture_attention(model, photo(0), answers=True).nbytes
    store = va.viewer.CaptureStore(3 * size)
    for seed in range(10):
        store.get(model, seed, lambda seed=seed: photo(seed))
        assert 0 < store.nbytes <= store.budget
    assert len(store) == 3


def test_dropped_captures_are_freed(model):
    store = va.viewer.CaptureStore(va.capture_attention(model, photo(0), answers=True).nbytes)
    first = weakref.ref(store.get(model, "a", lambda: photo(1)))
    assert first() is not None
    store.get(model, "b", lambda: photo(2))
    gc.collect()
    assert first() is None


def test_a_capture_larger_than_the_budget_is_handed_out_but_not_kept_and_drops_nothing(model):
    size = va.capture_attention(model, photo(0), answers=True).nbytes
    store = va.viewer.CaptureStore(size + 1000)
    store.get(model, "small", lambda: photo(1))
    large = store.get(model, "large", lambda: np.zeros((400, 400, 3), np.uint8))
    assert large.source.shape == (400, 400, 3)
    assert (model, "small") in store
    assert (model, "large") not in store


def test_a_photo_that_cannot_be_read_leaves_nothing_behind(model):
    store = va.viewer.CaptureStore()
    with pytest.raises(va.errors.PictureError):
        store.get(model, "a", lambda: "no such file.png")
    assert len(store) == 0
    assert store.get(model, "a", lambda: photo(1)).source.shape == (40, 50, 3)


def test_threads_that_request_one_photo_share_one_forward_pass(model, monkeypatch):
    passes, results = [], []
    gate = threading.Barrier(4)

    def slow(model, picture, **options):
        passes.append(picture)
        time.sleep(0.2)
        return va.capture_attention(model, picture, **options)

    monkeypatch.setattr(store_module, "capture_attention", slow)
    store = va.viewer.CaptureStore()

    def request():
        gate.wait()
        results.append(store.get(model, "a", lambda: photo(1)))

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(passes) == 1
    assert len(results) == 4
    assert all(result is results[0] for result in results)


def test_two_threads_with_different_photos_get_their_own(model):
    store = va.viewer.CaptureStore()
    results = {}

    def request(seed):
        for _ in range(5):
            results.setdefault(seed, []).append(store.get(model, seed, lambda: photo(seed)))

    threads = [threading.Thread(target=request, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for seed in range(2):
        assert len(results[seed]) == 5
        assert all(np.array_equal(capture.source, photo(seed)) for capture in results[seed])


def test_a_cleared_store_is_empty(model):
    store = va.viewer.CaptureStore()
    store.get(model, "a", lambda: photo(1))
    store.clear()
    assert (len(store), store.nbytes) == (0, 0)


def test_a_negative_budget_is_refused():
    with pytest.raises(va.errors.SettingsError, match="number of bytes"):
        va.viewer.CaptureStore(-1)


def test_what_a_source_needs_is_added_once_and_kept(model, passes, monkeypatch):
    completed = []

    def counted(model, capture, settings):
        completed.append(settings.source)
        return va.complete_capture(model, capture, settings)

    monkeypatch.setattr(store_module, "complete_capture", counted)
    store = va.viewer.CaptureStore()
    plain = store.get(model, "a", lambda: photo(1), va.ViewSettings())
    settings = va.ViewSettings(source="gradient", target=3)
    with_class = store.get(model, "a", lambda: photo(1), settings)
    assert plain.gradients == ()
    assert [added.target for added in with_class.gradients] == [3]
    assert store.get(model, "a", lambda: photo(1), va.ViewSettings(source="relevance", target=3)) is with_class
    assert store.get(model, "a", lambda: photo(1)) is with_class
    both = store.get(model, "a", lambda: photo(1), va.ViewSettings(source="norm"))
    assert both.value_norms
    assert both.gradients
    assert completed == ["gradient", "norm"]
    assert len(passes) == 1
    assert store.nbytes == both.nbytes > plain.nbytes


def test_threads_that_ask_for_one_class_share_one_backward_pass_and_two_classes_are_both_kept(model, monkeypatch):
    classes, gate = [], threading.Barrier(6)

    def slow(model, capture, settings):
        classes.append(settings.target)
        time.sleep(0.1)
        return va.complete_capture(model, capture, settings)

    monkeypatch.setattr(store_module, "complete_capture", slow)
    store = va.viewer.CaptureStore()
    results = []

    def request(target):
        gate.wait()
        results.append(
            (target, store.get(model, "a", lambda: photo(1), va.ViewSettings(source="gradient", target=target)))
        )

    threads = [threading.Thread(target=request, args=(number % 2,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(classes) == [0, 1]
    assert len(results) == 6
    assert all(capture.class_gradients(target).target == target for target, capture in results)
    kept = store.get(model, "a", lambda: photo(1))
    assert {added.target for added in kept.gradients} == {0, 1}


def test_a_class_that_does_not_exist_leaves_the_capture_as_it_was(model):
    store = va.viewer.CaptureStore()
    with pytest.raises(va.errors.SettingsError, match="class 5000 does not exist"):
        store.get(model, "a", lambda: photo(1), va.ViewSettings(source="gradient", target=5000))
    assert store.get(model, "a", lambda: photo(1)).gradients == ()
