"""Shared fixtures: the real weights and photos where they are, small random models everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"

# before huggingface_hub is imported, which reads these once: tests never go online
os.environ["HF_HUB_OFFLINE"] = "1"
if (SHARED / "hf").is_dir():
    os.environ["HF_HOME"] = str(SHARED / "hf")
# before torch is imported: test processes side by side, and what they start, share the cores
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

import vitattn_widgets as va  # noqa: E402
from vitattn_widgets.demo.service import DemoService  # noqa: E402
from vitattn_widgets.viewer import store  # noqa: E402

from . import model_zoo  # noqa: E402
from .sweeps import lab as sweep_lab  # noqa: E402

SAMPLES = Path(va.__file__).parent / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("needs the shared weights and photos, which are not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def real_model(shared: Path) -> va.models.AttentionModel:
    """The real ViT-Tiny, with its ImageNet weights."""
    return va.load_model("vit_tiny_patch16_224", device="cpu")


@pytest.fixture(scope="session")
def chelsea(real_model: va.models.AttentionModel) -> va.capture.AttentionCapture:
    """The cat sample, captured with the real weights."""
    return va.capture_attention(real_model, SAMPLES / "chelsea.jpg")


@pytest.fixture(scope="module")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photos of three classes, and what else lies in a folder of photos."""
    return sweep_lab.write_photos(tmp_path_factory.mktemp("photos") / "set")


@pytest.fixture(scope="module")
def swept(sweep_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> va.sweeps.SweepResult:
    """A sweep of `sweep_folder`."""
    return sweep_lab.run(sweep_folder, tmp_path_factory.mktemp("sweep") / "out")


@pytest.fixture(scope="session")
def wide_model() -> va.models.AttentionModel:
    """A random ViT whose grid has more columns (6) than rows (4)."""
    return va.load_model(model_zoo.build("vit", model_zoo.WIDE))


@pytest.fixture(scope="session")
def wide_capture(wide_model: va.models.AttentionModel) -> va.capture.AttentionCapture:
    return va.capture_attention(wide_model, noise_photo((80, 150)))


@pytest.fixture(scope="module")
def whole_service(wide_model: va.models.AttentionModel) -> Iterator[DemoService]:
    """A page's service with one model that loads and one that does not."""
    from .demo.lab import MAX_PIXELS, MAX_UPLOAD

    models = [wide_model, "vit_tiny_patch16_384"]
    service = DemoService(models, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600)
    yield service
    service.close()


@pytest.fixture
def service(whole_service: DemoService) -> DemoService:
    """The service as if nobody had used it."""
    for key in list(whole_service.uploads._used):
        whole_service.uploads.drop(key)
    whole_service.store.clear()
    return whole_service


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The photos that went through a model, in order."""
    seen: list[object] = []

    def counted(model: va.models.AttentionModel, picture: object, **options: bool) -> va.capture.AttentionCapture:
        seen.append(picture)
        return va.capture_attention(model, picture, **options)

    monkeypatch.setattr(store, "capture_attention", counted)
    return seen


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small models are trained faster without threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def noise_photo(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """uint8 ``(height, width, 3)`` of seeded noise."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
