"""``vitattn doctor``: what it says where all is well, and where torch or something else is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.datasets.samples import SAMPLES
from vitattn_widgets.doctor import machine, places, software
from vitattn_widgets.doctor.check import Check
from vitattn_widgets.doctor.report import WIDTH, Report, check_map
from vitattn_widgets.doctor.trial import Step, Trial

from ..lab import ROOT

MOST_LINES = 30

NAMES = [
    *("vitattn_widgets", "Python", "requirements", "torch", "torchvision", "timm", "gradio", "anywidget"),
    *("huggingface_hub", "notebooks", "GPU", "computer", "disk", "hub", "weights", "data sets", "a map"),
]

WORKS = Step("", 0.1, {})


def fake_module(folder: Path, name: str, body: str, version: str = "") -> None:
    """A module that stands before the real one on the search path."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(body)
    if version:
        (folder / name / "version.py").write_text(f"__version__ = '{version}'\n")


def examined(path: Path) -> tuple[int, dict[str, dict[str, str]], str]:
    """The exit status, the checks by name, and the error output of ``vitattn doctor`` with modules of a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    command = [sys.executable, "-m", "vitattn_widgets", "doctor", "--json"]
    done = subprocess.run(command, env=environment, cwd=path, capture_output=True, text=True)
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check.pop("name"): check for check in checks}, done.stderr


# --- all is well ---


def test_a_sound_installation_is_one_screen_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1].startswith("The kit draws maps here.")
    column = lines[0].index(va.__version__)
    assert [line[4:column].strip() for line in lines if line[:4].strip()][: len(NAMES)] == NAMES
    assert {line[:4].strip() for line in lines[:-2]} <= {"ok", "-", "!!", ""}
    assert all(line[column - 1] == " " for line in lines[:-2] if line[column - 3 : column - 1] != "->")


def test_the_report_says_what_python_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["draws_maps"] is True
    checks = {check["name"]: check for check in report["checks"]}
    assert list(checks) == NAMES
    assert checks["torch"]["found"] == torch.__version__
    assert checks["torchvision"]["found"].split(",")[0] == torchvision.__version__
    assert checks["timm"]["found"] == timm.__version__
    for name in ("gradio", "anywidget", "huggingface_hub"):
        assert checks[name]["found"] == metadata.version(name)
    assert checks["GPU"]["status"] == ("ok" if torch.cuda.is_available() else "absent")
    sample = SAMPLES[0]
    answer, probability = va.capture_attention(va.load_model("demo", device="cpu"), sample.path).top(1)[0]
    assert f"{sample.name} is a {answer}, {probability:.0%}" in checks["a map"]["found"]
    assert "HF_HUB_OFFLINE is set" in checks["hub"]["found"]
    for check in checks.values():
        assert "\n" not in check["found"] + check["advice"]
        assert check["advice"] or check["status"] != "problem"


# --- something is broken ---


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "raise ImportError('libcudnn.so.9: cannot open shared object file')",
            "ImportError: libcudnn.so.9: cannot open",
        ),
        ('print(\'{"not": "a step"\')\nraise RuntimeError', "RuntimeError"),
        ("import os\nos.abort()", "ended by SIGABRT"),
        ("import sys\nsys.exit('no licence')", "no licence"),
    ],
)
def test_a_torch_that_fails_or_crashes_is_one_line_of_the_whole_report(tmp_path: Path, body: str, words: str) -> None:
    fake_module(tmp_path, "torch", body, version="2.99.0+cu999")
    status, checks, errors = examined(tmp_path)
    assert status == 1
    assert errors == ""
    assert list(checks) == NAMES
    assert checks["torch"]["status"] == "problem"
    assert checks["torch"]["found"].startswith("2.99.0+cu999 cannot be imported: ")
    assert words in checks["torch"]["found"]
    assert checks["torch"]["advice"] == "pip install --force-reinstall torch torchvision"
    for name in ("torchvision", "timm", "GPU"):
        assert checks[name]["status"] == "absent"
        assert "not tried" in checks[name]["found"]
    assert checks["a map"]["status"] == "problem"
    assert checks["gradio"]["status"] == "ok"


def test_a_torchvision_of_another_source_is_named_with_both_builds(tmp_path: Path) -> None:
    body = "raise RuntimeError('operator torchvision::nms does not exist')"
    fake_module(tmp_path, "torchvision", body, version="0.99.0+other")
    status, checks, _ = examined(tmp_path)
    assert status == 1
    assert checks["torch"]["status"] == "ok"
    assert checks["torchvision"]["status"] == "problem"
    for words in ("0.99.0+other is not of the source of torch", torch.__version__, "nms does not exist"):
        assert words in checks["torchvision"]["found"]


def test_a_timm_that_fails_leaves_torch_well(tmp_path: Path) -> None:
    fake_module(tmp_path, "timm", "import torch_that_is_not_there")
    status, checks, _ = examined(tmp_path)
    assert status == 1
    assert [name for name in ("torch", "torchvision", "timm") if checks[name]["status"] != "ok"] == ["timm"]
    assert checks["timm"]["advice"] == "pip install --force-reinstall timm"


def test_a_torch_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_module(tmp_path, "torch", "import time\ntime.sleep(60)")
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = Trial(timeout=1).outcome()
    assert list(steps) == ["torch"]
    assert steps["torch"].error == "no end after 1 s"


# --- the checks one by one ---


@pytest.mark.parametrize(
    ("torch_version", "torchvision_version", "error", "status", "words", "advice"),
    [
        ("2.14.1+cpu", "0.29.1+cpu", "", "ok", "of the same source", ""),
        ("2.14.1", "0.29.1", "", "ok", "of the same source", ""),
        ("2.14.1a0+git1", "0.29.1", "", "ok", "of another build than torch 2.14.1a0+git1, which works", ""),
        ("2.14.1+cpu", "0.29.1+cu130", "no nms", "problem", "not of the source of torch 2.14.1+cpu: no nms", "whl/cpu"),
        ("2.14.1+cu130", "0.29.1+cu130", "no nms", "problem", "cannot be imported: no nms", "torch torchvision"),
    ],
)
def test_builds_are_compared_by_their_tags_and_by_importing(
    monkeypatch: pytest.MonkeyPatch,
    torch_version: str,
    torchvision_version: str,
    error: str,
    status: str,
    words: str,
    advice: str,
) -> None:
    versions = {"torch": torch_version, "torchvision": torchvision_version, "timm": "1.0"}
    monkeypatch.setattr(software, "build_version", versions.get)
    steps = {"torch": WORKS, "torchvision": Step(error, 0.1, {})}
    _, check, _ = software.check_imports(steps)
    assert check.status == status
    assert words in check.found
    assert check.advice.endswith(advice)


def test_what_is_missing_or_too_old_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {software.PACKAGE: "0.1.0", "torchvision": "", "scipy": "1.2", "segno": ""}
    monkeypatch.setattr(software, "installed_version", lambda name: versions.get(name, "9999"))
    check = software.check_requirements()
    assert check.status == "problem"
    assert "scipy is 1.2" in check.found
    assert "segno is missing" in check.found
    assert "torchvision is missing" in check.found
    assert check.advice.startswith("pip install ")
    assert '"scipy>=1.14"' in check.advice
    assert "numpy" not in check.advice


def test_a_kit_of_which_pip_has_no_record_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "installed_version", lambda name: "" if name == software.PACKAGE else "9999")
    assert software.check_requirements().status == "absent"


def test_notebooks_need_the_scripts_of_both_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"jupyterlab": "4.2"}
    monkeypatch.setattr(software, "installed_version", lambda name: versions.get(name, ""))
    monkeypatch.setattr(software, "_data_folders", lambda: [tmp_path])
    *_, check = software.check_front_ends()
    assert check.status == "problem"
    assert all(script in check.found for script in software.WIDGET_SCRIPTS)
    for script in software.WIDGET_SCRIPTS:
        (tmp_path / script).parent.mkdir(parents=True)
        (tmp_path / script).touch()
    *_, check = software.check_front_ends()
    assert (check.status, check.found) == ("ok", "JupyterLab 4.2, with the scripts of widgets")
    versions.clear()
    gradio, anywidget, _, check = software.check_front_ends()
    assert check.status == "absent"
    assert (gradio.status, anywidget.found) == ("problem", "missing")


@pytest.mark.parametrize(
    ("step", "driver", "status", "words"),
    [
        (None, True, "absent", "not tried"),
        (Step("RuntimeError: driver too old", 0.1, {}), True, "problem", "driver too old"),
        (Step("", 0.1, {"gpus": ["A, 80 GB", "B, 8 GB"]}), True, "ok", "A, 80 GB; B, 8 GB"),
        (Step("", 0.1, {"gpus": []}), False, "absent", "none"),
        (Step("", 0.1, {"gpus": []}), True, "absent", "built for CPUs"),
    ],
)
def test_a_gpu_that_is_not_used_has_a_reason(
    monkeypatch: pytest.MonkeyPatch, step: Step | None, driver: bool, status: str, words: str
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: "/usr/bin/nvidia-smi" if driver else None)
    steps = {"torch": Step("", 0.1, {"version": "2.14.1+cpu", "cuda": None})} | ({"gpu": step} if step else {})
    check = machine.check_gpus(steps)
    assert check.status == status
    assert words in check.found


def test_the_limits_of_a_container_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(64), raising=False)
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    (tmp_path / "memory.max").write_text("1500000000\n")
    check = machine.check_computer()
    assert (check.status, check.found) == ("problem", "4 cores, 1.5 GB of memory")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    check = machine.check_computer()
    assert check.status == "ok"
    assert check.found.startswith("64 cores, ")


def test_a_full_disk_is_found_where_the_weights_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        machine.shutil, "disk_usage", lambda place: asked.append(place) or SimpleNamespace(free=500_000_000)
    )
    check = machine.check_disk(tmp_path / "hub" / "not made yet")
    assert (check.status, check.found) == ("problem", "0.5 GB free where weights are kept")
    assert asked == [tmp_path]


def test_the_weights_in_the_cache_are_named(tmp_path: Path) -> None:
    away, near = Check("hub", "absent", "no network"), Check("hub", "ok", "")
    check = places.check_weights(tmp_path, away)
    assert check.status == "absent"
    assert "the embedded model" in check.advice
    assert "downloads" in places.check_weights(tmp_path, near).advice
    for name in ("vit_small_patch16_224.augreg", "vit_tiny_patch16_384.augreg"):
        snapshot = tmp_path / f"models--timm--{name}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").touch()
    broken = tmp_path / "models--timm--vit_tiny_patch16_224.broken" / "snapshots"
    broken.mkdir(parents=True)  # a download that was interrupted has no weights
    check = places.check_weights(tmp_path, away)
    assert check.status == "absent"
    assert "vit_small_patch16_224.augreg, vit_tiny_patch16_384.augreg" in check.found
    assert "broken" not in check.found
    (broken / "1").mkdir()
    (broken / "1" / "model.safetensors").touch()
    check = places.check_weights(tmp_path, away)
    assert check.status == "ok"
    assert check.found.startswith("vit_tiny_patch16_224, the default; also vit_small_patch16_224.augreg")


def test_the_data_sets_are_looked_for_where_load_dataset_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITATTN_DATA", raising=False)
    assert "VITATTN_DATA is not set" in places.check_data_sets().found
    monkeypatch.setenv("VITATTN_DATA", str(tmp_path))
    (tmp_path / "cassava").mkdir()
    check = places.check_data_sets()
    assert check.found == f"cassava in {tmp_path}; drawn pictures stand in for imagenet, fruitsgb"
    for name in ("imagenet", "fruitsgb"):
        (tmp_path / name).mkdir()
        with pytest.raises(va.errors.DataError, match=str(tmp_path / name)):  # empty, so it was looked into
            va.load_dataset(name, stand_in=False)
    assert places.check_data_sets().status == "ok"


def test_long_texts_keep_to_the_screen() -> None:
    checks = [Check(name, "problem", "/a/long/path" * 20 + " and words" * 20, "do this " * 40) for name in NAMES]
    report = Report((*checks, check_map({})), draws_maps=False)
    lines = report.screen().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) <= 4 * len(report.checks) + 6
    assert json.loads(report.json_text())["checks"][0]["advice"] == "do this " * 40
