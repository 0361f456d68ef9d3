"""Helpers of the explorer's tests: a small random model and noise, in Python and in a notebook cell."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va

SHAPE = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}


def small_model(name: str = "small", **changes: object) -> va.models.AttentionModel:
    """A random ViT with 4 x 6 patches, 3 layers and 3 heads, unless changed."""
    torch.manual_seed(0)
    return replace(va.load_model(VisionTransformer(**(SHAPE | changes)).eval()), name=name)


def photo(seed: int, size: tuple[int, int] = (100, 120)) -> np.ndarray:
    """Noise, uint8 ``(*size, 3)``."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def decoded(content: bytes) -> np.ndarray:
    """The pixels of a picture file."""
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


PHOTOS = {"first": photo(1), "second": photo(2, (90, 200))}
"""Pictures of an explorer."""

CELL = f"""
import numpy as np, torch, vitattn_widgets as va
from timm.models.vision_transformer import VisionTransformer
torch.manual_seed(0)
model = va.load_model(VisionTransformer(**{SHAPE}).eval())
photo = np.random.default_rng(1).integers(0, 256, (100, 120, 3), np.uint8)
explorer = va.AttentionExplorer(model, {{"noise": photo}})
explorer
"""


def cell_model() -> va.models.AttentionModel:
    """The model of `CELL`."""
    return small_model("VisionTransformer")


def cell_capture() -> va.capture.AttentionCapture:
    """The capture that the explorer of `CELL` shows."""
    return va.capture_attention(cell_model(), photo(1))


VIEWER = ".va-viewer"
"""The explorer on a page."""


def shown(page) -> dict[str, object]:
    """The settings whose picture is on the screen."""
    return json.loads(page.locator(VIEWER).first.get_attribute("data-shown"))


def wait_for(page, **settings: object) -> None:
    """Wait until the picture with these settings is on the screen."""
    page.wait_for_function(
        """([selector, wanted]) => {
            const shown = JSON.parse(document.querySelector(selector).dataset.shown ?? "{}");
            return Object.entries(wanted).every(([k, v]) => JSON.stringify(shown[k]) === JSON.stringify(v));
        }""",
        arg=[VIEWER, settings],
        timeout=15000,
    )


def slide(page, *layers: int) -> list[int]:
    """Drag the layer slider, one layer a frame; gives the layers whose pictures were on the screen."""
    return page.evaluate(
        """async ([selector, layers]) => {
            const root = document.querySelector(selector);
            const slider = root.querySelector("input[type=range]");
            const drawn = [];
            const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            for (const layer of layers) {
                if (JSON.parse(root.dataset.shown).layer === layer) { drawn.push(layer); continue; }
                slider.value = layer;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                await frame();
                drawn.push(JSON.parse(root.dataset.shown).layer);
            }
            return drawn;
        }""",
        [VIEWER, layers],
    )


def run_cell(page, number: int, source: str | None = None) -> str:
    """Run a cell of the open notebook, with another source if one is given, and read its output."""
    cell = page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    if source is not None:
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(source)
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    page.keyboard.press("Shift+Enter")
    for _ in range(100):
        page.wait_for_timeout(100)
        if prompt.inner_text() not in (before, "[*]:"):
            break
    page.wait_for_timeout(100)
    return cell.locator(".jp-OutputArea").first.inner_text()
