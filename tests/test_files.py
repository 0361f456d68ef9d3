"""Writing files: completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import vitattn_widgets as va
from vitattn_widgets import files


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    files.write_file(path, b"old")
    files.write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    files.write_file(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(va.errors.SettingsError, match=r"out\.png: could not be written \(No space left on device\)"):
        files.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "words"),
    [("out.bmp", "possible: .png"), ("none/out.png", "does not exist"), ("folder.png", "is a folder")],
)
def test_an_output_that_cannot_be_written_is_reported_before_any_work(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(va.errors.SettingsError, match=words):
        files.check_writable(tmp_path / name, (".png", ".jpg"))
