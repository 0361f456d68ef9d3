"""Boxes around the evidence: three formats, one mask, compared with loops over pixels written from the definition."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.datasets.masks import Box, box_mask

from ..conftest import noise_photo

SIDES = ("left", "top", "right", "bottom")
Boxes = Mapping[str, Sequence[tuple[int, int, int, int]]]
"""By the photo's name, boxes from their first pixel to the one after their last."""

TWO = {"a": [(2, 3, 9, 8), (7, 1, 12, 5)], "b": [(0, 0, 16, 12)]}


def write_csv(root: Path, boxes: Boxes, suffix: str = ".jpg") -> Path:
    path = root / "boxes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *SIDES])
        writer.writerows([f"{name}{suffix}", *box] for name, found in boxes.items() for box in found)
    return path


def write_voc(root: Path, boxes: Boxes, folder: str = "annotations/xmls", size: tuple[int, int] | None = None) -> Path:
    """VOC counts pixels from 1 and names the last one."""
    for name, found in boxes.items():
        tree = ElementTree.Element("annotation")
        if size is not None:
            element = ElementTree.SubElement(tree, "size")
            for side, value in zip(("width", "height"), size, strict=True):
                ElementTree.SubElement(element, side).text = str(value)
        for left, top, right, bottom in found:
            thing = ElementTree.SubElement(tree, "object")
            ElementTree.SubElement(thing, "difficult").text = "0"
            element = ElementTree.SubElement(thing, "bndbox")
            values = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}
            for side, value in values.items():
                ElementTree.SubElement(element, side).text = str(value)
        path = root / folder / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(tree).write(path)
    return root / folder


def write_coco(root: Path, boxes: Boxes) -> Path:
    path = root / "boxes.json"
    images = [{"id": number, "file_name": f"{name}.jpg"} for number, name in enumerate(boxes)]
    annotations = [
        {"id": 10 * number, "image_id": number, "bbox": [left, top, right - left, bottom - top], "iscrowd": 0}
        for number, found in enumerate(boxes.values())
        for left, top, right, bottom in found
    ]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def write_photos(root: Path, *names: str, size: tuple[int, int] = (12, 16)) -> Path:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise_photo(size, seed)).save(path)
    return root


def slow_mask(boxes: Sequence[tuple[float, ...]], height: int, width: int) -> np.ndarray:
    """Pixel by pixel: 1 where the centre lies in a box."""
    mask = np.zeros((height, width), np.uint8)
    for row in range(height):
        for col in range(width):
            inside = (left <= col + 0.5 < right and top <= row + 0.5 < bottom for left, top, right, bottom in boxes)
            mask[row, col] = any(inside)
    return mask


@pytest.mark.parametrize("write", [write_csv, write_voc, write_coco])
def test_every_format_gives_the_same_masks(tmp_path: Path, write: Callable[[Path, Boxes], Path]) -> None:
    write(write_photos(tmp_path, "images/a.jpg", "images/b.jpg"), TWO)
    photos = va.datasets.load_boxed_folder(tmp_path, notify=pytest.fail)
    assert photos.names == ("images/a.jpg", "images/b.jpg")
    assert (photos.split, photos.class_names, photos.stand_in) == ("test", ("object",), False)
    for number, boxes in enumerate(TWO.values()):
        np.testing.assert_array_equal(photos.mask(number), slow_mask(boxes, 12, 16))
        assert photos.mask(number).dtype == np.uint8
    assert photos.load(0).size == (16, 12)
    np.testing.assert_array_equal(photos.take([1]).mask(0), photos.mask(1))


def test_pixels_count_by_their_centres_and_marked_boxes_count_neither_way() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(0, 15, (3, 2, 2))
        boxes = [(*np.sort(x), *np.sort(y)) for x, y in corners]
        boxes = [(left, top, right, bottom) for left, right, top, bottom in boxes]
        np.testing.assert_array_equal(box_mask([Box(*box) for box in boxes], (15, 14)), slow_mask(boxes, 14, 15))
    marked = box_mask([Box(0, 0, 2, 2), Box(1, 1, 4, 4, counted=False)], (5, 4))
    assert [(marked == value).sum() for value in (0, 1, 255)] == [20 - 4 - 8, 4, 8]


def test_difficult_objects_and_crowds_are_not_counted(tmp_path: Path) -> None:
    write_voc(write_photos(tmp_path / "voc", "a.jpg"), {"a": TWO["a"]}, "Annotations")
    file = tmp_path / "voc" / "Annotations" / "a.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    coco = write_coco(write_photos(tmp_path / "coco", "a.jpg"), {"a": TWO["a"]})
    coco.write_text(coco.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    for folder in ("voc", "coco"):
        mask = va.datasets.load_boxed_folder(tmp_path / folder).mask(0)
        assert (mask[3:8, 2:7] == 255).all()
        assert (mask[1:5, 7:12] == 1).all()


def test_boxes_are_clipped_to_the_photo(tmp_path: Path) -> None:
    write_csv(write_photos(tmp_path, "a.jpg"), {"a": [(-5, 8, 4, 99)]})
    photos = va.datasets.load_boxed_folder(tmp_path)
    assert photos.boxes == ((Box(0, 8, 4, 12),),)
    np.testing.assert_array_equal(photos.mask(0), slow_mask([(0, 8, 4, 12)], 12, 16))


def test_a_turned_photo_has_its_boxes_where_it_is_upright(tmp_path: Path) -> None:
    write_photos(tmp_path, "a.jpg")
    with Image.open(tmp_path / "a.jpg") as photo:
        exif = photo.getexif()
        exif[0x0112] = 6
        photo.save(tmp_path / "a.jpg", exif=exif)
    write_csv(tmp_path, {"a": [(0, 13, 12, 16)]})
    photos = va.datasets.load_boxed_folder(tmp_path)
    assert photos.load(0).size == (12, 16)
    np.testing.assert_array_equal(photos.mask(0), slow_mask([(0, 13, 12, 16)], 16, 12))


def test_photos_of_one_name_in_several_folders_are_distinguished(tmp_path: Path) -> None:
    write_photos(tmp_path, "cats/1.jpg", "dogs/1.jpg", "dogs/2.jpg")
    write_voc(tmp_path, {"cats/1": [(0, 0, 2, 2)], "dogs/1": [(0, 0, 5, 5)], "dogs/2": [(0, 0, 7, 7)]})
    photos = va.datasets.load_boxed_folder(tmp_path, notify=pytest.fail)
    assert [int(photos.mask(number).sum()) for number in range(3)] == [4, 25, 49]
    write_csv(tmp_path, {"1": [(0, 0, 2, 2)]})
    with pytest.raises(
        va.errors.DataError, match=r"could be those of cats/1\.jpg or of dogs/1\.jpg; give more of the path"
    ):
        va.datasets.load_boxed_folder(tmp_path)


def test_photos_without_a_box_and_boxes_without_a_photo_are_reported(tmp_path: Path) -> None:
    write_csv(write_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg"), {"a": TWO["a"], "zebra": TWO["b"]})
    lines: list[str] = []
    photos = va.datasets.load_boxed_folder(tmp_path, notify=lines.append)
    assert photos.names == ("a.jpg",)
    assert lines == [
        f"left out: boxes of zebra; there are no such photos in {tmp_path}",
        f"left out: b.jpg, c.jpg; {tmp_path / 'boxes.csv'} has no box of them",
    ]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        pytest.param(
            (9, 3, 2, 8), r"boxes\.csv, line 2: left 9, top 3, right 2, bottom 8 is not a box", id="left of left"
        ),
        pytest.param((2, 8, 9, 8), "is not a box; left must be less than right, top less than bottom", id="flat"),
        pytest.param((16, 3, 20, 8), r"is outside .*a\.jpg, which has 16 x 12 px", id="outside"),
        pytest.param((2, "x", 9, 8), "left, top, right, bottom must be numbers, got '2', 'x', '9', '8'", id="word"),
        pytest.param((2, 3, "nan", 8), "must be numbers", id="nan"),
    ],
)
def test_bad_boxes_are_reported_in_one_line(tmp_path: Path, box: tuple, message: str) -> None:
    write_csv(write_photos(tmp_path, "a.jpg"), {"a": [box]})
    with pytest.raises(va.errors.DataError, match=message) as raised:
        va.datasets.load_boxed_folder(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_not_a_file_of_boxes_is_refused(tmp_path: Path) -> None:
    root = write_photos(tmp_path, "a.jpg")
    with pytest.raises(va.errors.DataError, match=r"found no boxes \(boxes\.csv, boxes\.json, "):
        va.datasets.load_boxed_folder(root)
    with pytest.raises(va.errors.DataError, match=r"found no boxes \(mine\.csv\)"):
        va.datasets.load_boxed_folder(root, "mine.csv")
    with pytest.raises(va.errors.DataError, match="no such folder"):
        va.datasets.load_boxed_folder(root / "nothing")
    (root / "boxes.csv").write_text("name,x,y\na.jpg,1,2\n")
    with pytest.raises(
        va.errors.DataError, match="needs the columns name, left, top, right, bottom and one row per box; left"
    ):
        va.datasets.load_boxed_folder(root)
    write_csv(root, {"zebra": TWO["a"]})
    with pytest.raises(va.errors.DataError, match="no box belongs to one of the 1 photos"):
        va.datasets.load_boxed_folder(root, notify=str)
    (root / "boxes.json").write_text('{"images": []}')
    with pytest.raises(va.errors.DataError, match=r"cannot be read as COCO annotations .*KeyError: 'annotations'"):
        va.datasets.load_boxed_folder(root, root / "boxes.json")
    (root / "boxes.txt").write_text("a 1 2 3 4")
    with pytest.raises(va.errors.DataError, match=r"a folder of Pascal VOC XML, a COCO \.json or a \.csv"):
        va.datasets.load_boxed_folder(root, root / "boxes.txt")
    (root / "annotations").mkdir()
    with pytest.raises(va.errors.DataError, match="no XML files in this folder"):
        va.datasets.load_boxed_folder(root, root / "annotations")
    (root / "annotations" / "a.xml").write_text("<annotation><object></annotation>")
    with pytest.raises(va.errors.DataError, match=r"a\.xml: cannot be read as XML"):
        va.datasets.load_boxed_folder(root, root / "annotations")
    (root / "annotations" / "a.xml").write_text("<annotation><object/></annotation>")
    with pytest.raises(va.errors.DataError, match=r"a\.xml, object 1: xmin, ymin, xmax, ymax must be numbers"):
        va.datasets.load_boxed_folder(root, root / "annotations")


def test_boxes_drawn_on_another_size_are_refused(tmp_path: Path) -> None:
    write_voc(write_photos(tmp_path, "a.jpg"), {"a": TWO["a"]}, size=(500, 375))
    with pytest.raises(va.errors.DataError, match=r"was drawn on 500 x 375 px, but .*a\.jpg has 16 x 12 px"):
        va.datasets.load_boxed_folder(tmp_path)


def test_imagenet_has_the_boxes_of_its_annotations(tmp_path: Path) -> None:
    ids = ("n01440764", "n02123045")
    names = [f"Data/CLS-LOC/train/{wordnet_id}/{wordnet_id}_{number}" for wordnet_id in ids for number in range(4)]
    write_photos(tmp_path, *(f"{name}.JPEG" for name in names))
    boxes = {name.rpartition("/")[2]: [(number, 1, number + 3, 5)] for number, name in enumerate(names[:-1])}
    write_voc(tmp_path, {f"{name[:9]}/{name}": found for name, found in boxes.items()}, "Annotations/CLS-LOC/train")
    data = va.load_dataset("imagenet", data=tmp_path, notify=pytest.fail)
    seen = 0
    for split in (data.train, data.validation, data.test):
        for number, name in enumerate(split.names):
            found = boxes.get(Path(name).stem)
            mask = split.mask(number)
            assert (mask is None) == (found is None)
            if found:
                np.testing.assert_array_equal(mask, slow_mask(found, 12, 16))
            seen += 1
    assert seen == 8
    lines: list[str] = []
    write_voc(tmp_path, {f"{ids[0]}/{ids[0]}_0": [(5, 1, 2, 3)]}, "Annotations/CLS-LOC/train")
    data = va.load_dataset("imagenet", data=tmp_path, notify=lines.append)
    assert data.test.mask(0) is None
    assert lines[0].startswith("continuing without boxes: ")


def test_maps_on_boxes_of_real_photos_are_measured_as_a_slow_version_measures_them(
    shared: Path, real_model: va.models.AttentionModel, tmp_path: Path
) -> None:
    pets = va.datasets.load_masked_folder(shared / "data" / "pets_masks").take(range(4))
    boxes = {}
    for number, name in enumerate(pets.names):
        rows, cols = np.nonzero(pets.mask(number) == 1)
        boxes[Path(name).stem] = [(int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)]
    annotations = write_voc(tmp_path, boxes)
    photos = va.datasets.load_boxed_folder(shared / "data" / "pets_masks", annotations, notify=str)
    assert len(photos) == 4
    found = va.evaluate_maps(real_model, photos, aggregations=["max"], progress=False).photos
    for number, (left, top, right, bottom) in enumerate(box for (box,) in boxes.values()):
        capture = va.capture_attention(real_model, photos.load(number))
        heat = va.smooth_map(capture.patch_attention(-1).max(0), capture.view.shape[:2], 16)
        x0, y0, x1, y1 = capture.crop_box
        inside = 0.0
        for row in range(224):
            for col in range(224):
                x, y = x0 + (col + 0.5) * (x1 - x0) / 224, y0 + (row + 0.5) * (y1 - y0) / 224
                inside += heat[row, col] * (left <= int(x) < right and top <= int(y) < bottom)
        row = found[(found["photo"] == photos.names[number]) & (found["map"] == "max")].iloc[0]
        assert row["mass_on_mask"] == pytest.approx(inside / heat.sum(), rel=1e-4)
        assert (pets.mask(number)[photos.mask(number) == 0] != 1).all()  # the animal lies in its box
