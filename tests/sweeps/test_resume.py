"""A sweep that is killed at any point resumes and ends as an unbroken one; several processes end as one does."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pandas
import pytest

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.sweeps import (
    folder as folder_module,
    output as output_module,
    run as run_module,
    work as work_module,
)
from vitattn_widgets.sweeps.folder import Plan, SweepFolder
from vitattn_widgets.sweeps.work import Request, Team, Work

from ..kill_lab import Killed, KilledWrites, child
from . import lab as sweep_lab

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("one_thread")


def require_same(unbroken: va.sweeps.SweepResult, resumed: va.sweeps.SweepResult) -> None:
    """The files are equal, bit for bit; nothing else is left."""
    for name in ("table.parquet", "mean_maps.npz", "skipped.txt", "report.html"):
        one, two = ((result.folder / name).read_bytes() for result in (unbroken, resumed))
        if name == "report.html":  # the recipe names the folder
            two = two.replace(str(resumed.folder).encode(), str(unbroken.folder).encode())
            two = two.replace(f"{resumed.folder.name}/".encode(), f"{unbroken.folder.name}/".encode())
        assert one == two, name
    assert {path.name for path in resumed.folder.iterdir()} == {path.name for path in unbroken.folder.iterdir()}


def test_a_sweep_killed_at_any_of_its_writes_ends_as_an_unbroken_one(
    sweep_folder: Path, swept: va.sweeps.SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of each file that is written, half of it left behind, and after it."""
    write_file = KilledWrites()
    photos: list[int] = []
    measure = work_module.measure_photos

    def measured(rows: object, batch: object, measurement: object) -> object:
        photos.extend(photo.index for photo in batch)
        return measure(rows, batch, measurement)

    for module in (folder_module, output_module, run_module):
        monkeypatch.setattr(module, "write_file", write_file)
    monkeypatch.setattr(work_module, "measure_photos", measured)
    sweep_lab.run(sweep_folder, tmp_path / "whole")
    count = len(write_file.names)
    parts = [f"{part:06d}.npz" for part in range(8)]
    assert write_file.names == [
        "state.json",
        *parts,
        "table.parquet",
        "mean_maps.npz",
        "skipped.txt",
        "report.html",
        "state.json",
    ]
    for deadline in [(number, moment) for number in range(1, count + 1) for moment in ("in", "after")]:
        write_file.names.clear()
        photos.clear()
        write_file.deadline = deadline
        out = tmp_path / "-".join(map(str, deadline))
        with pytest.raises(Killed):
            sweep_lab.run(sweep_folder, out)
        seen, write_file.deadline = len(photos), None
        require_same(swept, sweep_lab.run(sweep_folder, out))
        assert len(photos) <= 29 + 4, seen  # at most one part is measured twice


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_at_a_random_moment(sweep_folder: Path, swept: va.sweeps.SweepResult, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with child("-m", "tests.sweeps.lab", str(sweep_folder), str(out)) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            until = time.monotonic() + 120
            while not list(out.glob("parts/*.npz")):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.05))
        finally:
            process.kill()
    assert (out / "state.json").exists()
    require_same(swept, sweep_lab.run(sweep_folder, out))


def test_a_damaged_part_is_measured_again(
    sweep_folder: Path, swept: va.sweeps.SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(sweep_folder, tmp_path / "out", monkeypatch)
    part = tmp_path / "out" / "parts" / "000003.npz"
    part.write_bytes(part.read_bytes()[:-40])
    require_same(swept, sweep_lab.run(sweep_folder, tmp_path / "out"))


def test_a_finished_sweep_is_read_and_not_run_again(
    sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sweep_lab.run(sweep_folder, tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.iterdir() if path.name != ".lock"}
    monkeypatch.setattr(run_module, "Work", None)
    monkeypatch.setattr(run_module, "model_sinks", None)
    again = sweep_lab.run(sweep_folder, tmp_path / "out", progress=True)
    assert "this sweep is finished; nothing was run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert again.describe() == first.describe()
    pandas.testing.assert_frame_equal(again.table, first.table)
    assert again.skipped == first.skipped


def test_a_folder_of_another_sweep_is_refused_with_what_differs(sweep_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sweep_lab.run(sweep_folder, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(
        va.errors.SweepError, match=r"They differ in options\.aggregation: \"mean\" there, \"max\" now$"
    ):
        sweep_lab.run(sweep_folder, out, aggregation="max")
    with pytest.raises(va.errors.SweepError, match=r"options\.table: \"parquet\" there, \"csv\" now"):
        sweep_lab.run(sweep_folder, out, table="csv")
    with pytest.raises(va.errors.SweepError, match=r"data\.title.*data\.photos: 30 there, 5 now.*data\.fingerprint"):
        sweep_lab.run(sweep_folder, out, limit=5)
    with pytest.raises(va.errors.SweepError, match=r"model\.name.*model\.weights"):
        va.sweep(va.load_model("demo", device="cpu"), sweep_folder, out, progress=False)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_files_of_others_are_never_overwritten(sweep_folder: Path, tmp_path: Path) -> None:
    for name, content, message in (
        ("table.parquet", b"mine", r"holds table\.parquet, which no sweep wrote"),
        ("report.html", b"mine", r"holds report\.html, which no sweep wrote"),
        ("state.json", b'{"mine": 1}', r"state\.json: damaged, or not a sweep's"),
    ):
        out = tmp_path / name
        out.mkdir()
        (out / name).write_bytes(content)
        with pytest.raises(va.errors.SweepError, match=message):
            sweep_lab.run(sweep_folder, out)
        assert (out / name).read_bytes() == content
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    sweep_lab.run(sweep_folder, tmp_path / "notes", limit=3)
    assert (tmp_path / "notes" / "notes.txt").read_text() == "mine"


def unfinished(sweep_folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A sweep that was stopped before its table; gives what its state says."""

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(run_module, "write_results", killed)
    with pytest.raises(Killed):
        sweep_lab.run(sweep_folder, out)
    monkeypatch.undo()
    return json.loads((out / "state.json").read_text())


@pytest.mark.parametrize("inside", [False, True])
def test_a_state_without_a_format_number_resumes(
    inside: bool,
    sweep_folder: Path,
    swept: va.sweeps.SweepResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whether it has no number at all, or one inside its identity; a finished sweep is read as well."""
    state = unfinished(sweep_folder, tmp_path / "out", monkeypatch)
    assert state.pop("format") == folder_module.FORMAT
    state["identity"] |= {"format": 1} if inside else {}
    (tmp_path / "out/state.json").write_text(json.dumps(state))
    monkeypatch.setattr(work_module, "measure_photos", None)  # the parts are used as they are
    require_same(swept, sweep_lab.run(sweep_folder, tmp_path / "out"))
    (tmp_path / "out/state.json").write_text(json.dumps(state | {"finished": True}))
    sweep_lab.run(sweep_folder, tmp_path / "out", progress=True)
    assert "this sweep is finished; nothing was run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99, "new": 1}, "has format 99, of a newer version .*; this version reads format 1; update vitattn"),
        (
            {"format": 0},
            "has format 0, of an older version .*; this version reads format 1; remove the folder or choose",
        ),
        ({"format": "one"}, "damaged, or not a sweep's of format 1 .format 'one' is not a number.; remove the folder"),
        ({"format": None, "sinks": None}, "damaged, or not a sweep's of format 1 .*'sinks'.*; remove the folder or"),
    ],
)
def test_another_format_is_refused_and_left_as_it_is(
    change: dict, message: str, sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = unfinished(sweep_folder, tmp_path / "out", monkeypatch) | change
    content = json.dumps({name: value for name, value in state.items() if value is not None})
    (tmp_path / "out/state.json").write_text(content)
    with pytest.raises(va.errors.SweepError, match=rf"state\.json: {message}"):
        sweep_lab.run(sweep_folder, tmp_path / "out")
    assert (tmp_path / "out/state.json").read_text() == content


def test_two_sweeps_do_not_share_a_folder(sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_module.model_sinks

    def meddled(*arguments: object) -> object:
        monkeypatch.setattr(run_module, "model_sinks", real)
        with pytest.raises(va.errors.SweepError, match="another run is working in this folder"):
            sweep_lab.run(sweep_folder, tmp_path / "out")
        return real(*arguments)

    monkeypatch.setattr(run_module, "model_sinks", meddled)
    sweep_lab.run(sweep_folder, tmp_path / "out", limit=3)


def test_finished_files_that_are_gone_are_reported(sweep_folder: Path, tmp_path: Path) -> None:
    result = sweep_lab.run(sweep_folder, tmp_path / "out", limit=3)
    result.table_file.unlink()
    with pytest.raises(va.errors.SweepError, match="is finished, but its files cannot be read"):
        sweep_lab.run(sweep_folder, tmp_path / "out", limit=3)


def test_a_process_measures_its_share_and_no_more(sweep_folder: Path, tmp_path: Path) -> None:
    request = Request(sweep_lab.colour_model(), (-1,), "mean", 4, "parquet", 0).checked()
    target, photos = SweepFolder(tmp_path, "parquet"), va.datasets.load_photo_folder(sweep_folder)
    target.parts.mkdir()
    for number, there in ((1, [1, 4, 7]), (2, [1, 3, 4, 7]), (0, [0, 1, 3, 4, 6, 7])):
        work = Work(request, target, photos, Team(number, 3), request.measurement({"2": []}), 0, False, print)
        work.measure(Plan(len(photos), 4))  # every third of what is still missing
        assert sorted(int(path.stem) for path in target.parts.iterdir()) == there


def test_two_processes_make_the_table_of_one(sweep_folder: Path, tmp_path: Path) -> None:
    options = ["sweep", str(sweep_folder), "--model", "demo", "--batch-size", "2", "--workers", "0", "--device", "cpu"]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "vitattn_widgets"]
    assert cli.main([*options, "-o", str(tmp_path / "one")]) == 0
    with child(*launch, *options, "-o", str(tmp_path / "two")) as process:
        printed = process.communicate(timeout=200)[0]
    assert process.returncode == 0
    assert printed.count("report ") == printed.count("2.8 M parameters") == 1  # only one process prints
    assert printed.count("red/04.png: not a picture") <= 1
    for name in ("table.parquet", "mean_maps.npz", "skipped.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert json.loads((tmp_path / "two" / "state.json").read_text())["finished"]
