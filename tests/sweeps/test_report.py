"""A sweep's report: what it says is in the table, it needs nothing but itself, and it can be read on a phone."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.sweeps.report.charts import Group, MapScale, map_tile, mirrored
from vitattn_widgets.sweeps.report.highlights import draw_highlights, reasons, small_jpeg
from vitattn_widgets.sweeps.report.page import report_page, wilson
from vitattn_widgets.sweeps.report.recipe import command
from vitattn_widgets.view.drawing import color_table

from ..conftest import SAMPLES, noise_photo
from ..lab import CHROMIUM, running_browser
from . import lab as sweep_lab

pytestmark = pytest.mark.usefixtures("one_thread")


def text_of(page: str) -> str:
    """What a page says, without tags and pictures."""
    without = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", without.replace("\u00a0", " "))


def test_the_page_needs_nothing_but_itself(swept: va.sweeps.SweepResult) -> None:
    page = swept.report.read_text()
    addresses = re.findall(r'(?:src|href|action|poster)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert addresses
    assert all(re.match(r"data:image/(png|jpeg);base64,", address) for address in addresses)
    assert "<script" not in page
    assert "@import" not in page
    assert len(page) < 3_000_000


def test_the_numbers_are_the_tables(swept: va.sweeps.SweepResult) -> None:
    text = text_of(swept.report.read_text())
    photos = swept.of_layer()
    assert f"accuracy {100 * photos['right'].mean():.0f}%" in text
    assert f"on the border {100 * photos['border_share'].mean():.0f}% a uniform map has 67%" in text
    found = swept.right_and_wrong()
    interval = f"{found.difference:+.3f} , 95% interval {found.low:+.3f} to {found.high:+.3f} (over photos)"
    assert interval in text
    for name, line in swept.by_class().iterrows():
        values = [f"{line[measure]:.3f}" for measure in ("confidence", "prefix_share", "border_share", "flat_share")]
        accuracy = "–" if np.isnan(line["accuracy"]) else f"{line['accuracy']:.3f}"
        assert f"{name} {int(line['photos'])} {accuracy} {' '.join(values)}" in text
    by_layer = swept.table.groupby("layer")["border_share"].mean()
    for layer, value in by_layer.items():
        assert re.search(rf" {layer} 0\.\d+ {value:.3f} ", text)
    assert swept.skipped[0] in text
    assert swept.state.identity["model"]["weights"] in text
    assert "With only 5 right predictions, such an interval is rough." in text


def test_highlights_are_drawn_by_the_projects_own_drawing(swept: va.sweeps.SweepResult, sweep_folder: Path) -> None:
    model = sweep_lab.colour_model()
    cards = draw_highlights(model, va.datasets.load_photo_folder(sweep_folder, model.class_names), swept, 3)
    first = swept.of_layer().sort_values("look_first").head(3)
    assert [card.photo for card in cards] == list(first["photo"])
    for card, (_, line) in zip(cards, first.iterrows(), strict=True):
        capture = va.capture_attention(model, sweep_folder / card.photo)
        settings = va.ViewSettings(layer=2, median=False, gaussian=False, opacity=0.6)
        rendered = va.render_view(capture, settings)
        assert card.caption == rendered.caption
        assert card.view == small_jpeg(capture.view)
        assert card.overlay == small_jpeg(rendered.image)
        assert card.right is (None if line["right"] is not True and line["right"] is not False else line["right"])
        assert card.reasons


def test_a_photo_that_is_gone_leaves_its_place_to_the_next(swept: va.sweeps.SweepResult, tmp_path: Path) -> None:
    model = sweep_lab.colour_model()
    moved = sweep_lab.write_photos(tmp_path / "set")
    photos = va.datasets.load_photo_folder(moved, model.class_names)
    order = list(swept.of_layer().sort_values("look_first")["photo"])
    (moved / order[1]).unlink()
    assert [card.photo for card in draw_highlights(model, photos, swept, 3)] == [order[0], order[2], order[3]]


def test_a_small_picture_is_the_picture_within_a_size() -> None:
    ramp = np.linspace(0, 255, 600)[None, :, None].repeat(300, 0).repeat(3, 2).astype(np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(small_jpeg(ramp))), np.float64)
    assert shown.shape == (128, 256, 3)
    np.testing.assert_allclose(shown, np.linspace(0, 255, 256)[None, :, None].repeat(128, 0).repeat(3, 2), atol=4)


def test_reasons_name_what_few_others_reach(swept: va.sweeps.SweepResult) -> None:
    table = swept.of_layer()
    highest = table.sort_values("border_share_without_sinks").iloc[-1]
    share = f"{100 * highest['border_share_without_sinks']:.0f}"
    assert f"{share}% on the border, more than 96% of the set" in reasons(table, highest)
    middle = table.iloc[[len(table) // 2]].iloc[0]
    assert len(reasons(table, middle)) >= 1


def test_a_tile_has_the_maps_colours(swept: va.sweeps.SweepResult) -> None:
    relative = np.array([[0, 1, 2], [3, 4, 9]], np.float64)
    sinks = np.array([[False, False, False], [False, False, True]])
    scale = MapScale.of([relative], sinks)
    assert scale.top == pytest.approx(np.percentile([0, 1, 2, 3, 4], 99))
    assert scale.clipped
    tile = map_tile(relative, scale, sinks, "a <map>")
    assert "a &lt;map&gt;" in tile
    assert tile.count("<rect") == 2
    assert 'x="2.2" y="1.2"' in tile
    encoded = re.search(r"base64,([^\"]+)", tile)[1]
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(encoded))))
    table = color_table("inferno")
    wanted = (np.clip(relative / scale.top, 0, 1) * 255).round().astype(int)
    assert np.abs(pixels.astype(int) - table[wanted].astype(int)).max() <= 6


def test_a_histograms_bars_are_shares_of_each_group() -> None:
    right, wrong = np.array([0.06] * 30 + [0.46] * 10), np.array([0.46, 0.06])
    drawn = mirrored(Group("right", right, "right"), Group("wrong", wrong, "wrong"), "share", 0.2)
    heights = {
        name: [float(height) for height in re.findall(rf'height="([\d.]+)" class="{name}"', drawn)]
        for name in ("right", "wrong")
    }
    for name, values in (("right", right), ("wrong", wrong)):
        counts = np.histogram(values, np.linspace(0, 0.6, 25))[0] / len(values)
        np.testing.assert_allclose(heights[name], 96 * counts / 0.75, atol=0.01)
    assert "mean 0.16" in drawn
    assert "uniform map 0.20" in drawn


def test_the_interval_of_a_share_is_wilsons() -> None:
    """The values that the formula gives for 8 of 10, worked out elsewhere."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 5)[0] == 0
    assert wilson(5, 5)[1] == 1


def test_names_are_text_and_never_tags(tmp_path: Path) -> None:
    bad = tmp_path / "<b>bad & co"
    bad.mkdir()
    for number in range(3):
        Image.fromarray(noise_photo((40, 50), number)).save(bad / f'"{number}".png')
    (bad / "<i>.png").write_bytes(b"no")
    result = sweep_lab.run(tmp_path, tmp_path / "out")
    page = result.report.read_text()
    assert "<b>bad" not in page
    assert "<i>." not in page
    assert "&lt;b&gt;bad" in page


def test_the_command_makes_the_sweep_again(tmp_path: Path) -> None:
    model = va.load_model("demo", device="cpu")
    options = {"stand_in": True, "limit": 5, "layers": (1, -1), "aggregation": "max", "pictures": 1, "workers": 0}
    one = va.sweep(model, "cassava", tmp_path / "one", table="csv", split="train", progress=False, **options)
    words = command(one).split()
    assert words[:3] == ["vitattn", "sweep", "cassava"]
    assert cli.main([*words[1:-1], str(tmp_path / "two")]) == 0
    assert (tmp_path / "two" / "table.csv").read_bytes() == one.table_file.read_bytes()
    unnamed = replace(one, state=replace(one.state, facts=one.state.facts | {"loaded_with": None}))
    assert command(unnamed) == ""
    assert "Made by" not in report_page(unnamed, [])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")
def test_it_is_whole_in_a_browser(tmp_path: Path) -> None:
    """No request, no complaint, every picture there, nothing wider than a phone or a sheet of paper."""
    (tmp_path / "photos").mkdir()
    for path in SAMPLES.glob("*.jpg"):
        (tmp_path / "photos" / f"{path.stem}_with_a_long_name_{'x' * 60}.jpg").write_bytes(path.read_bytes())
    model = va.load_model("demo", device="cpu")
    result = va.sweep(model, tmp_path / "photos", tmp_path / "out", workers=0, progress=False)
    made = sweep_lab.run(sweep_lab.write_photos(tmp_path / "set"), tmp_path / "other")
    with running_browser() as browser:
        for report in (result.report, made.report):
            for width, phone in ((1280, False), (390, True), (320, True)):
                context = browser.new_context(viewport={"width": width, "height": 800}, is_mobile=phone)
                page = context.new_page()
                asked, complaints = [], []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.on("console", lambda said, complaints=complaints: complaints.append(said.text))
                page.goto(report.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                loaded = page.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth > 0)")
                assert loaded
                assert all(loaded)
                assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
                assert complaints == []
                if not phone:  # on paper: in light colours, nothing cut off
                    page.set_viewport_size({"width": 700, "height": 1000})
                    page.emulate_media(media="print", color_scheme="dark")
                    assert page.evaluate("document.documentElement.scrollWidth") <= 700
                    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    assert ground == "rgb(255, 255, 255)"
                context.close()
