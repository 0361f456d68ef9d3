"""Loaders on small made folders of every layout, the split, the copies, and the cache of inspections."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.datasets import inspection, layouts, loading, splits

from ..conftest import noise_photo


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads the cache of another one, or of the user."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(inspection.platformdirs, "user_cache_dir", lambda *_, **__: str(folder))
    monkeypatch.delenv(loading.FOLDER_VARIABLE, raising=False)
    return folder


@pytest.fixture
def lines() -> list[str]:
    return []


def write_photo(path: Path, seed: int) -> None:
    """A small photo in colours of its own, so that no two look like copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    low = rng.integers(30, 200, 3)
    pixels = rng.integers(low, low + 35, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def fill(root: Path, folders: list[str], count: int = 4, name: str = "photo_{}.jpg") -> Path:
    for place, folder in enumerate(folders):
        for number in range(count):
            write_photo(root / folder / name.format(number), 1000 * place + number)
    return root


def names_by_class(data: va.datasets.Dataset) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {class_name: set() for class_name in data.class_names}
    for split in (data.train, data.validation, data.test):
        for name, label in zip(split.names, split.labels, strict=True):
            found[data.class_names[label]].add(name)
    return found


FRUIT_LAYOUTS = [
    ["Good_Apple", "Bad_Apple"],
    ["apple_good", "apple_bad"],
    ["Bad Apple", "Good Apple"],
    ["good-quality/Apple", "bad-quality/Apple"],
    ["Apple/good-quality", "Apple/bad-quality"],
    ["Good/Apple", "Bad/Apple"],
    ["Apples/Good", "Apples/Bad"],
    ["Good Quality_Fruits/Apple_Good", "Bad Quality_Fruits/Apple_Bad"],
    ["dataset/train/freshapples", "dataset/train/rottenapples"],
    ["GoodApple", "BadApple"],
    ["01 - apple (Good)", "02 - APPLE (BAD)"],
]


@pytest.mark.parametrize("folders", FRUIT_LAYOUTS, ids=lambda folders: folders[0])
def test_good_and_bad_fruits_are_found_in_every_usual_spelling(tmp_path: Path, folders: list[str]) -> None:
    data = va.load_dataset("fruitsgb", data=fill(tmp_path / "fruits", folders))
    assert data.class_names == ("bad apple", "good apple")
    assert not data.stand_in
    found = names_by_class(data)
    for folder in folders:
        quality = "good" if any(word in folder.lower() for word in ("good", "fresh")) else "bad"
        assert found[f"{quality} apple"] == {f"{folder}/photo_{number}.jpg" for number in range(4)}


@pytest.mark.parametrize(
    ("folder", "class_name"),
    [
        ("Bad_Limes", "bad lime"),
        ("rottenoranges", "bad orange"),
        ("good-mangoes", "good mango"),
        ("Strawberries/fresh", "good strawberry"),
        ("Good/Passion Fruit", "good passion"),
        ("Good Farm/Bad_Apple", "bad apple"),  # the nearest name counts
        ("limebad", "bad lime"),
        ("Good", None),
        ("Apple", None),
        ("Mixed Quality/Apple", None),
    ],
)
def test_fruit_classes_from_folder_names(folder: str, class_name: str | None) -> None:
    assert layouts.fruit_class(PurePosixPath(folder)) == class_name


def test_photos_of_no_known_class_are_reported_and_left_out(tmp_path: Path, lines: list[str]) -> None:
    root = fill(tmp_path / "fruits", ["Good/Apple", "Bad/Apple", "Mixed/Apple"])
    data = va.load_dataset("fruitsgb", data=root, notify=lines.append)
    assert data.skipped == ("Mixed/Apple: 4 photos of no known class left out",)
    assert lines == [f"left out: {line}" for line in data.skipped]
    assert sum(map(len, (data.train, data.validation, data.test))) == 8


CASSAVA = ["cbb", "cbsd", "cgm", "cmd", "healthy"]


@pytest.mark.parametrize("prefix", ["", "train/", "cassava/train/"])
def test_cassava_in_folders_with_unlabelled_photos_beside_them(tmp_path: Path, prefix: str) -> None:
    root = fill(tmp_path / "leaves", [f"{prefix}{name}" for name in CASSAVA])
    fill(root, ["test/0", "extraimages"])
    data = va.load_dataset("cassava", data=root)
    assert data.class_names == tuple(CASSAVA)
    assert {name: len(found) for name, found in names_by_class(data).items()} == dict.fromkeys(CASSAVA, 4)


@pytest.mark.parametrize("prefix", ["", "cassava-leaf-disease-classification/"])
def test_cassava_of_2020_from_its_table(tmp_path: Path, prefix: str) -> None:
    root = tmp_path / "leaves"
    fill(root, [f"{prefix}train_images"], count=20, name="{}.jpg")
    with (root / prefix / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image_id", "label"])
        table.writerows([f"{number}.jpg", number % 5] for number in range(20))
        table.writerow(["gone.jpg", 3])
    data = va.load_dataset("cassava", data=root)
    assert names_by_class(data)["cgm"] == {f"{prefix}train_images/{number}.jpg" for number in (2, 7, 12, 17)}
    assert data.skipped == (f"{prefix}train_images/gone.jpg: in train.csv, but there is no such file",)


@pytest.mark.parametrize(
    "rows", ["image_id,label\n0.jpg,7\n", "image_id,label\n0.jpg,many\n", "photo,class\n0.jpg,1\n"]
)
def test_a_wrong_cassava_table_is_refused(tmp_path: Path, rows: str) -> None:
    fill(tmp_path, ["train_images"], name="{}.jpg")
    (tmp_path / "train.csv").write_text(rows)
    with pytest.raises(va.errors.DataError, match=r"columns image_id and label \(0..4\) are needed"):
        va.load_dataset("cassava", data=tmp_path)


@pytest.mark.parametrize("flat", [False, True])
def test_imagenet_by_wordnet_ids_of_folders_or_files(tmp_path: Path, flat: bool) -> None:
    for number in range(8):
        for wordnet_id in ("n02123045", "n02124075", "n99999999"):
            name = f"{wordnet_id}_{number}.JPEG" if flat else f"{wordnet_id}/{number}.JPEG"
            write_photo(tmp_path / name, number + int(wordnet_id[1:]))
    data = va.load_dataset("imagenet", data=tmp_path)
    assert data.class_names == ("tabby", "Egyptian cat", "n99999999")
    assert {len(found) for found in names_by_class(data).values()} == {8}
    assert all(name.startswith("n02124075") for name in names_by_class(data)["Egyptian cat"])


def test_imagenette_agrees_with_torchvisions_own_class_and_keeps_its_test_photos(tmp_path: Path) -> None:
    from torchvision.datasets import Imagenette

    for split, count in (("train", 8), ("val", 3)):
        for wordnet_id in list(Imagenette._WNID_TO_CLASS)[:3]:
            for number in range(count):
                name = f"imagenette2-320/{split}/{wordnet_id}/{number}.JPEG"
                write_photo(tmp_path / name, number + int(wordnet_id[1:]) + 100 * count)
    data = va.load_dataset("imagenet", data=tmp_path)
    theirs = {split: Imagenette(tmp_path, split=split, size="320px") for split in ("train", "val")}
    assert data.class_names == tuple(names[0] for names in theirs["train"].classes)
    assert len(data.train) + len(data.validation) == len(theirs["train"])
    assert {(str(tmp_path / name), label) for name, label in zip(data.test.names, data.test.labels, strict=True)} == {
        (str(Path(path)), label) for path, label in theirs["val"]._samples
    }
    assert all("/train/" in name for name in data.train.names + data.validation.names)


def test_classes_of_single_photos_leave_no_split_empty(tmp_path: Path) -> None:
    for number in range(30):
        write_photo(tmp_path / f"n{number:08d}_x.jpg", number)
    data = va.load_dataset("imagenet", data=tmp_path)
    assert len(data.class_names) == 30
    assert [len(data.train), len(data.validation), len(data.test)] == pytest.approx([21, 4.5, 4.5], abs=1)


def test_the_split_is_stratified_seeded_and_complete() -> None:
    rng = np.random.default_rng(1)
    labels = tuple(rng.choice(4, 500, p=[0.6, 0.2, 0.15, 0.05]).tolist())
    groups = rng.integers(0, 300, 500) * 4 + np.array(labels)
    parts = splits.split_photos(labels, groups, seed=3)
    assert sorted(number for part in parts for number in part) == list(range(500))
    for label in range(4):
        total = labels.count(label)
        for part, share in zip(parts, splits.SHARES, strict=True):
            assert sum(labels[number] == label for number in part) == pytest.approx(share * total, abs=2)
    seen = [set(groups[list(part)].tolist()) for part in parts]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert splits.split_photos(labels, groups, seed=3) == parts
    assert splits.split_photos(labels, groups, seed=4) != parts
    other = splits.split_photos(labels, groups, seed=3, shares=(0.5, 0.25, 0.25))
    assert [len(part) for part in other] == pytest.approx([250, 125, 125], abs=8)


def test_held_out_photos_are_the_test_split_and_their_copies_are_not_trained_on() -> None:
    labels, groups = (0, 0, 0, 0, 1, 1, 1, 1), np.array([0, 1, 2, 0, 4, 5, 6, 7])
    parts = splits.split_photos(labels, groups, seed=0, held_out=frozenset({0, 4}))
    assert parts[2] == (0, 4)
    assert sorted(parts[0] + parts[1]) == [1, 2, 5, 6, 7]  # 3 is a copy of 0


def fruit_photo(seed: int, size: int = 96) -> Image.Image:
    """A made fruit in the middle of a white ground, as in the sets with turned copies."""
    photos = va.load_dataset("fruitsgb", stand_in=True, seed=seed).train
    return photos.load(seed % len(photos)).resize((size, size))


def test_turned_mirrored_shifted_and_noisy_copies_of_a_photo_stay_together(tmp_path: Path) -> None:
    folder = tmp_path / "Good_Apple"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        photo = fruit_photo(number)
        noisy = np.array(photo)
        noisy[rng.random(noisy.shape[:2]) < 0.02] = rng.choice([0, 255])
        for kind, copy in (
            ("a", photo),
            ("b", photo.rotate(30)),
            ("c", photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
            ("d", photo.rotate(0, translate=(7, 5))),
            ("e", Image.fromarray(noisy)),
            ("f", photo.resize((80, 110))),
        ):
            copy.save(folder / f"{rng.integers(1 << 60):016x}_{number}{kind}.png")
    names = tuple(sorted(f"Good_Apple/{path.name}" for path in folder.iterdir()))
    groups = inspection.copy_groups(inspection.inspect_photos(tmp_path, names), (0,) * len(names))
    photo_of = [name.rpartition("_")[2].rstrip("abcdef.png") for name in names]
    together = [
        len({group for group, own in zip(groups, photo_of, strict=True) if own == photo}) for photo in set(photo_of)
    ]
    assert sum(count == 1 for count in together) >= 10  # shifting cuts a piece off, which can change the colours
    apart = {group: {own for other, own in zip(groups, photo_of, strict=True) if other == group} for group in groups}
    assert max(map(len, apart.values())) <= 2


def test_a_style_that_all_photos_share_is_not_taken_for_copies() -> None:
    rng = np.random.default_rng(0)
    base = rng.random((24, 24, 3)) * 100 + 60
    photos = [np.clip(base + rng.normal(0, 14, base.shape), 0, 255).astype(np.uint8) for _ in range(40)]
    colors = np.array([inspection.color_signature(photo) for photo in photos])
    assert np.median(colors.astype(float) @ colors.T.astype(float)) > 0.5
    crowd = inspection.Inspection(
        names=tuple(f"{number}.jpg" for number in range(40)),
        stamps=np.zeros((40, 2), np.int64),
        digests=tuple(map(str, range(40))),
        colors=np.tile(colors[:1], (40, 1)),
        problems=("",) * 40,
    )
    assert len(set(inspection.copy_groups(crowd, (0,) * 40))) == 40


@pytest.mark.parametrize(
    ("stem", "original"),
    [
        ("rotated_by_15_Screen Shot 1", "screen shot 1"),
        ("vertical_flip_Screen Shot 1", "screen shot 1"),
        ("saltandpepper_Screen Shot 1", "screen shot 1"),
        ("translation_Screen Shot 1", "screen shot 1"),
        ("apple 7_flip", "apple 7"),
        ("apple_rot90", "apple"),
        ("apple - Copy", "apple"),
        ("apple_rot_5", "apple_rot_5"),
        ("IMG_1", "img_1"),
        ("flip", "flip"),
    ],
)
def test_names_of_copies(stem: str, original: str) -> None:
    assert inspection.original_stem(stem) == original


def test_files_of_the_same_bytes_and_names_of_augmentation_are_one_photo(tmp_path: Path) -> None:
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"], count=12)
    twin = root / "Good_Apple" / "another.jpg"
    twin.write_bytes((root / "Good_Apple" / "photo_3.jpg").read_bytes())
    write_photo(root / "Good_Apple" / "rotated_by_45_photo_5.jpg", 99)
    for seed in range(6):
        data = va.load_dataset("fruitsgb", data=root, seed=seed)
        where = {name: split.split for split in (data.train, data.validation, data.test) for name in split.names}
        assert where["Good_Apple/another.jpg"] == where["Good_Apple/photo_3.jpg"]
        assert where["Good_Apple/rotated_by_45_photo_5.jpg"] == where["Good_Apple/photo_5.jpg"]


def test_unreadable_files_give_one_line_each_and_the_rest_is_loaded(tmp_path: Path, lines: list[str]) -> None:
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"])
    whole = (root / "Good_Apple" / "photo_0.jpg").read_bytes()
    (root / "Good_Apple" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "Bad_Apple" / "text.png").write_text("not a picture")
    (root / "Bad_Apple" / "empty.jpg").write_bytes(b"")
    (root / "Bad_Apple" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "Bad_Apple" / "notes.txt").write_text("no photo at all")
    for _ in range(2):  # opened, then from the cache
        lines.clear()
        data = va.load_dataset("fruitsgb", data=root, notify=lines.append)
        assert sum(map(len, (data.train, data.validation, data.test))) == 8
        assert len(data.skipped) == len(lines) == 4
        assert all("\n" not in line for line in lines)
        for name in ("cut.jpg", "text.png", "empty.jpg", "gone.jpg"):
            assert sum(name in line for line in data.skipped) == 1
    assert "4 left out" in data.describe()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.write_text("x"), "is not a folder"),
        (lambda root: root.mkdir(), "it is empty"),
        (lambda root: fill(root, ["cats", "dogs"]), "it holds cats, dogs"),
        (lambda root: fill(root, ["Good_Apple"]), "only one class"),
        (lambda root: (fill(root, ["Good_Apple", "Bad_Apple"]), (root / "Bad_Lime").mkdir()), "no photos of bad lime"),
    ],
)
def test_a_folder_that_is_named_is_never_silently_replaced(tmp_path: Path, make: object, message: str) -> None:
    root = tmp_path / "fruits"
    make(root)
    with pytest.raises(va.errors.DataError, match=message):
        va.load_dataset("fruitsgb", data=root)


def test_a_class_whose_photos_are_all_unreadable_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"])
    for path in (root / "Bad_Apple").iterdir():
        path.write_bytes(b"")
    with pytest.raises(va.errors.DataError, match="no photos of bad apple"):
        va.load_dataset("fruitsgb", data=root, notify=lambda _: None)


def test_a_cassava_class_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(va.errors.DataError, match="no photos of cgm"):
        va.load_dataset("cassava", data=fill(tmp_path, ["cbb", "cbsd", "cmd", "healthy"]))


def test_missing_photos_give_the_stand_in_and_one_plain_line(lines: list[str]) -> None:
    data = va.load_dataset("cassava", notify=lines.append)
    assert data.stand_in
    assert data.root is None
    assert len(lines) == 1
    assert "STAND-IN" in lines[0]
    assert "\n" not in lines[0]


def test_the_usual_place_is_looked_in_after_data(
    tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(loading.FOLDER_VARIABLE, str(tmp_path))
    assert va.load_dataset("fruitsgb", notify=lines.append).stand_in
    assert str(tmp_path / "fruitsgb") in lines[0]
    fill(tmp_path, ["fruitsgb/Good_Lime", "fruitsgb/Bad_Lime", "other/Good_Fig", "other/Bad_Fig"])
    assert va.load_dataset("fruitsgb").class_names == ("bad lime", "good lime")
    assert va.load_dataset("fruitsgb", data=tmp_path / "other").class_names == ("bad fig", "good fig")
    assert va.load_dataset("fruitsgb", stand_in=True).stand_in
    assert len(lines) == 1


def test_stand_ins_can_be_declined_and_mistakes_are_refused() -> None:
    with pytest.raises(va.errors.DataError, match="How to get it: https"):
        va.load_dataset("cassava", stand_in=False)
    with pytest.raises(va.errors.DataError, match="possible: imagenet, fruitsgb, cassava, demo"):
        va.load_dataset("cats")
    with pytest.raises(va.errors.DataError, match="leave data out"):
        va.load_dataset("demo", data="somewhere")
    with pytest.raises(va.errors.DataError, match="only Imagenette can be downloaded"):
        va.load_dataset("cassava", data="somewhere", download=True)
    with pytest.raises(va.errors.DataError, match="three whole numbers"):
        va.load_dataset("demo", per_class=(1, 0, 1))


def test_a_download_that_fails_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torchvision.datasets.imagenette.download_and_extract_archive", offline)
    with pytest.raises(va.errors.DataError, match=r"could not be downloaded.*network is unreachable"):
        va.load_dataset("imagenet", data=tmp_path, download=True)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photos that were opened to be inspected."""
    names: list[str] = []

    def counted(path: Path) -> tuple[str, np.ndarray, str]:
        names.append(path.name)
        return open_photo(path)

    open_photo = inspection.open_photo
    monkeypatch.setattr(inspection, "open_photo", counted)
    return names


def test_photos_are_opened_once_and_again_only_when_they_change(tmp_path: Path, cache: Path, opened: list[str]) -> None:
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"])
    first = va.load_dataset("fruitsgb", data=root)
    assert len(opened) == 8
    assert va.load_dataset("fruitsgb", data=root) == first
    assert va.load_dataset("fruitsgb", data=root, seed=5) != first
    assert len(opened) == 8
    opened.clear()
    write_photo(root / "Good_Apple" / "photo_2.jpg", 77)
    os.utime(root / "Good_Apple" / "photo_2.jpg", ns=(1, 1))
    write_photo(root / "Good_Apple" / "photo_9.jpg", 78)
    (root / "Bad_Apple" / "photo_0.jpg").unlink()
    data = va.load_dataset("fruitsgb", data=root)
    assert sorted(opened) == ["photo_2.jpg", "photo_9.jpg"]
    assert sum(map(len, (data.train, data.validation, data.test))) == 8
    assert data.fingerprint != first.fingerprint
    assert [path.name for path in cache.iterdir()] == [inspection.cache_file(root).name]


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_cache_is_made_again(tmp_path: Path, cache: Path, opened: list[str], content: bytes | None) -> None:
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"])
    first = va.load_dataset("fruitsgb", data=root)
    file = inspection.cache_file(root)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert va.load_dataset("fruitsgb", data=root) == first
    assert len(opened) == 16
    assert file.read_bytes()[:2] == b"PK"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, cache: Path, opened: list[str]) -> None:
    cache.write_text("a file where the folder should be")
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"])
    assert va.load_dataset("fruitsgb", data=root) == va.load_dataset("fruitsgb", data=root)
    assert len(opened) == 16


def test_photos_are_upright_rgb_without_masks_and_can_be_pickled(tmp_path: Path) -> None:
    root = fill(tmp_path / "fruits", ["Good_Apple", "Bad_Apple"])
    turned = Image.fromarray(noise_photo((20, 30)))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "Good_Apple" / "turned.jpg", exif=exif)
    data = va.load_dataset("fruitsgb", data=root)
    photos = next(split for split in (data.train, data.validation, data.test) if "Good_Apple/turned.jpg" in split.names)
    number = photos.names.index("Good_Apple/turned.jpg")
    assert photos.load(number).size == (20, 30)
    assert photos.load(number).mode == "RGB"
    assert photos.mask(number) is None
    assert pickle.loads(pickle.dumps(photos)) == photos
    assert photos.take([number]).names == ("Good_Apple/turned.jpg",)


def write_masked(root: Path, size: tuple[int, int] = (12, 16), mask_size: tuple[int, int] = (12, 16)) -> Path:
    write = Image.fromarray(noise_photo(size))
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    write.save(root / "images" / "pet.jpg")
    values = np.zeros(mask_size, np.uint8)
    values[2:6, 3:9], values[6:8, 3:9], values[1, 3:9] = 1, 2, 255
    Image.fromarray(values).save(root / "masks" / "pet.png")
    return root


def test_a_folder_of_photos_with_masks(tmp_path: Path) -> None:
    photos = va.datasets.load_masked_folder(write_masked(tmp_path / "pets"))
    assert (len(photos), photos.split, photos.stand_in) == (1, "test", False)
    mask = photos.mask(0)
    assert mask.dtype == np.uint8
    assert mask.shape == photos.load(0).size[::-1]
    assert [(mask == value).sum() for value in (0, 1, 255)] == [12 * 16 - 36 - 6, 36, 6]


def test_mistakes_in_a_folder_with_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(va.errors.DataError, match="no such folder"):
        va.datasets.load_masked_folder(tmp_path)
    with pytest.raises(va.errors.DataError, match="they must agree"):
        va.datasets.load_masked_folder(write_masked(tmp_path / "a", mask_size=(16, 12)))
    root = write_masked(tmp_path / "b")
    Image.fromarray(noise_photo((4, 4))).save(root / "images" / "other.jpg")
    with pytest.raises(va.errors.DataError, match=r"no mask for other\.jpg"):
        va.datasets.load_masked_folder(root)


def test_every_data_set_says_where_it_comes_from() -> None:
    for name in va.datasets.DATASETS:
        info = va.load_dataset(name, stand_in=True if name != "demo" else None).info
        assert info.name == name
        assert info.how_to_get
        assert info.licence
        assert info.citation


@pytest.mark.parametrize(
    ("name", "folder", "classes", "photos"),
    [("fruitsgb", "fruits", 6, 1046), ("cassava", "cassava", 5, 42), ("imagenet", "imagenet", 60, 60)],
)
def test_the_real_photos_are_read(shared: Path, name: str, folder: str, classes: int, photos: int) -> None:
    data = va.load_dataset(name, data=shared / "data" / folder)
    assert len(data.class_names) == classes
    assert sum(map(len, (data.train, data.validation, data.test))) == photos
    assert min(map(len, (data.train, data.validation, data.test))) > 0
    assert data.skipped == ()


def test_the_real_masks_are_read(shared: Path) -> None:
    photos = va.datasets.load_masked_folder(shared / "data" / "pets_masks")
    shares = [(photos.mask(number) == 1).mean() for number in range(len(photos))]
    assert len(photos) == 26
    assert 0.2 < np.mean(shares) < 0.6
