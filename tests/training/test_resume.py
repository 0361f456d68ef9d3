"""A run that is killed at any point resumes after its last finished epoch and ends as an unbroken one does."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

import vitattn_widgets as va
from vitattn_widgets import cli, runs
from vitattn_widgets.models import checkpoints
from vitattn_widgets.training import folder as folder_module, report as report_module, run as run_module
from vitattn_widgets.training.folder import EpochRecord, RunFolder, RunState

from ..kill_lab import Killed, KilledWrites, child
from . import lab as training_lab

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("one_thread")


def require_same(unbroken: va.training.FinetuneResult, resumed: va.training.FinetuneResult) -> None:
    """Weights, cards, history but for its seconds, and test figures are equal, bit for bit."""
    for one, two in ((unbroken.last, resumed.last), (unbroken.best, resumed.best)):
        first, second = load_file(one), load_file(two)
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name
        assert one.with_suffix(".json").read_text() == two.with_suffix(".json").read_text()
    without_time = [[(r.epoch, r.train_loss, r.validation_loss) for r in run.history] for run in (unbroken, resumed)]
    assert without_time[0] == without_time[1]
    np.testing.assert_array_equal(unbroken.confusion, resumed.confusion)
    assert unbroken.test_loss == resumed.test_loss


RECIPES = {
    "adam": {"epochs": 3},
    "adamw_cosine_dropout": {
        "epochs": 3,
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "schedule": "cosine",
        "warmup": 0.2,
        "clip_norm": 1.0,
        "label_smoothing": 0.1,
        "augmentation": "strong",
        "model_args": training_lab.SMALL | {"proj_drop_rate": 0.1, "drop_path_rate": 0.1},
    },
    "sgd_further_head": {"epochs": 3, "optimizer": "sgd", "head": "further", "trained": "head"},
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_stopped_after_an_epoch_ends_as_an_unbroken_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = training_lab.run(tmp_path / "unbroken", **RECIPES[name])
    for epoch in (1, 2):
        stop_in_epoch(epoch, monkeypatch)
        with pytest.raises(Killed):
            training_lab.run(tmp_path / "stopped", **RECIPES[name])
        assert len(RunFolder(tmp_path / "stopped").read_state().history) == epoch
        monkeypatch.undo()
    require_same(unbroken, training_lab.run(tmp_path / "stopped", **RECIPES[name]))


def stop_in_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop in the validation of an epoch, counted from 0."""
    real, seen = run_module.train_epoch, []

    def watched(*arguments: object) -> object:
        result = real(*arguments)
        seen.append(arguments[5])
        if arguments[5] == number:
            raise Killed
        return result

    monkeypatch.setattr(run_module, "train_epoch", watched)


def test_mixed_precision_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str) -> va.training.FinetuneResult:
        return va.finetune(
            training_lab.colours(),
            training_lab.recipe(epochs=2),
            tmp_path / name,
            mixed_precision="bf16",
            workers=0,
            cpu=True,
            progress=False,
        )

    unbroken = run("unbroken")
    stop_in_epoch(1, monkeypatch)
    with pytest.raises(Killed):
        run("stopped")
    monkeypatch.undo()
    require_same(unbroken, run("stopped"))


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With all that an optimizer and the gradient scaler of fp16 keep."""
    parameter = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.Adam([parameter], 0.1, betas=(0.8, 0.99))
    (parameter**2).sum().backward()
    optimizer.step()
    scaler = {
        "scale": 65536.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 3,
    }
    record = EpochRecord(1, 0.1, 1 / 3, 0.5, 0.25, 2 / 3, 1.5)
    state = RunState({"recipe": {"epochs": 3}}, (record,), {"w.x": parameter}, optimizer.state_dict(), scaler)
    RunFolder(tmp_path).write_state(state)
    found = RunFolder(tmp_path).read_state()
    assert (found.identity, found.history, found.scaler) == (state.identity, state.history, state.scaler)
    assert torch.equal(found.weights["w.x"], parameter)
    again = torch.optim.Adam([parameter], 0.5)
    again.load_state_dict(found.optimizer)
    first, second = optimizer.state_dict(), again.state_dict()
    assert tuple(second["param_groups"][0].pop("betas")) == first["param_groups"][0].pop("betas") == (0.8, 0.99)
    assert second["param_groups"] == first["param_groups"]
    for key, value in first["state"][0].items():
        assert torch.equal(second["state"][0][key], value), key


def test_a_run_killed_at_any_of_its_writes_ends_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of each file that is written, half of it left behind, and after the last."""
    write_file = KilledWrites()
    for module in (checkpoints, report_module, folder_module, runs):
        monkeypatch.setattr(module, "write_file", write_file)
    changes = {"epochs": 2}
    unbroken = training_lab.run(tmp_path / "unbroken", **changes)
    count = len(write_file.names)
    assert set(write_file.names[1:]) == {*folder_module.NAMES, *folder_module.FIGURES}
    for deadline in [*((number, "in") for number in range(2, count + 1)), (count, "after")]:
        write_file.names.clear()
        write_file.deadline = deadline
        folder = tmp_path / "-".join(map(str, deadline))
        with pytest.raises(Killed):
            training_lab.run(folder, **changes)
        for name in ("best", "last"):  # what is there is whole at every moment
            if (folder / f"{name}.safetensors").exists():
                va.load_model(None, checkpoint=folder / f"{name}.safetensors", device="cpu")
        write_file.deadline = None
        require_same(unbroken, training_lab.run(folder, **changes))
        assert not [path for path in folder.iterdir() if path.name.startswith(".") and path.name != ".lock"]
        assert not (folder / "state.safetensors").exists()


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.training import lab as training_lab
from vitattn_widgets import files

real = files.os.fsync
def fsync(number):
    real(number)
    path = Path(os.readlink(f"/proc/self/fd/{number}"))
    if path.name.startswith(".state") and len(list(path.parent.glob("last.json"))):
        os.ftruncate(number, os.fstat(number).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
files.os.fsync = fsync
training_lab.run(Path(sys.argv[1]), epochs=12)
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> va.training.FinetuneResult:
    return training_lab.run(tmp_path_factory.mktemp("unbroken"), epochs=12)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to find the file that is being written")
def test_kill_9_in_the_middle_of_a_write(unbroken: va.training.FinetuneResult, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert child("-c", CHILD, str(out)).wait(120) == -signal.SIGKILL
    assert len(list(out.glob(".state.safetensors.*"))) == 1
    assert len(RunFolder(out).read_state().history) == 1
    require_same(unbroken, training_lab.run(out, epochs=12))
    assert not list(out.glob(".state*"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_at_a_random_moment(unbroken: va.training.FinetuneResult, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with child("-m", "tests.training.lab", str(out), "12") as process:
        try:
            assert process.stdout.readline() == "ready\n"
            until = time.monotonic() + 120
            while not (out / "last.json").exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.5))
        finally:
            process.kill()
    state = RunFolder(out).read_state()
    assert state is None or 1 <= len(state.history) <= 12
    require_same(unbroken, training_lab.run(out, epochs=12))


def test_a_full_disk_in_the_middle_leaves_the_last_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to write more bytes than a limit: what a full disk does, on any machine."""
    changes = {"epochs": 2}
    unbroken = training_lab.run(tmp_path / "unbroken", **changes)
    folder = RunFolder(tmp_path / "full")
    real = folder_module.write_file
    written = []

    def limited(path: Path, content: bytes) -> None:
        written.append(path.name)
        if written.count("state.safetensors") == 2:
            full_disk(path, content, real)
        real(path, content)

    monkeypatch.setattr(folder_module, "write_file", limited)
    with pytest.raises(va.errors.SettingsError, match=r"state.safetensors: could not be written \(File too large\)"):
        training_lab.run(folder.path, **changes)
    assert len(folder.read_state().history) == 1
    assert not list(folder.path.glob(".state*"))
    monkeypatch.undo()
    require_same(unbroken, training_lab.run(folder.path, **changes))


def full_disk(path: Path, content: bytes, write: object) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        write(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_finished_run_is_reported_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = training_lab.run(tmp_path, epochs=1)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != ".lock"}
    monkeypatch.setattr(run_module, "start_model", None)
    again = va.finetune(training_lab.colours(), training_lab.recipe(epochs=1), tmp_path, cpu=True)
    assert "this run is finished; nothing was trained" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert again.describe() == first.describe()
    require_same(first, again)


def test_a_folder_of_another_run_is_refused_with_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_epoch(1, monkeypatch)
    with pytest.raises(Killed):
        training_lab.run(tmp_path, epochs=2)
    monkeypatch.undo()
    with pytest.raises(va.errors.TrainingError, match=r"They differ in recipe\.learning_rate: 0.003 there, 0.5 now$"):
        training_lab.run(tmp_path, epochs=2, learning_rate=0.5)
    other = training_lab.colours(train=(0, 1, 2) * 10)
    with pytest.raises(va.errors.TrainingError, match=r"another run.*data_fingerprint"):
        va.finetune(other, training_lab.recipe(epochs=2), tmp_path, cpu=True)
    training_lab.run(tmp_path, epochs=2)
    with pytest.raises(va.errors.TrainingError, match=r"recipe\.epochs: 2 there, 3 now"):  # finished ones too
        training_lab.run(tmp_path, epochs=3)


def test_a_damaged_state_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_epoch(1, monkeypatch)
    with pytest.raises(Killed):
        training_lab.run(tmp_path, epochs=2)
    monkeypatch.undo()
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(va.errors.TrainingError, match="damaged"):
        training_lab.run(tmp_path, epochs=2)
    state.unlink()
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(va.errors.TrainingError, match="damaged"):
        training_lab.run(tmp_path, epochs=2)


def stopped_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A run of two epochs that was stopped after the first; gives what its state says."""
    stop_in_epoch(1, monkeypatch)
    with pytest.raises(Killed):
        training_lab.run(folder, epochs=2)
    monkeypatch.undo()
    return json.loads(checkpoints.read_header(folder / "state.safetensors")["run"])


def rewrite_state(folder: Path, run: dict) -> None:
    state = folder / "state.safetensors"
    state.write_bytes(save(load_file(state), {"run": json.dumps(run)}))


def test_a_state_without_a_format_number_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = training_lab.run(tmp_path / "unbroken", epochs=2)
    assert json.loads((tmp_path / "unbroken/metrics.json").read_text())["format"] == folder_module.FORMAT
    run = stopped_run(tmp_path / "stopped", monkeypatch)
    assert run.pop("format") == folder_module.FORMAT
    rewrite_state(tmp_path / "stopped", run)
    require_same(unbroken, training_lab.run(tmp_path / "stopped", epochs=2))


def test_a_report_without_a_format_number_is_read(tmp_path: Path) -> None:
    first = training_lab.run(tmp_path, epochs=1)
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    del numbers["format"]
    (tmp_path / "metrics.json").write_text(json.dumps(numbers))
    assert training_lab.run(tmp_path, epochs=1).describe() == first.describe()


def test_what_cannot_be_read_without_a_format_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped_run(tmp_path, monkeypatch)
    rewrite_state(tmp_path, {"identity": run["identity"]})
    message = r"state\.safetensors: damaged, or not of format 1 \(it has no 'optimizer'\); remove the folder or choose"
    with pytest.raises(va.errors.TrainingError, match=message):
        training_lab.run(tmp_path, epochs=2)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            99,
            "has format 99, of a newer version of vitattn_widgets; this version reads format 1; update vitattn_widgets",
        ),
        (0, "has format 0, of an older version of vitattn_widgets; this version reads format 1; remove the folder"),
        ("one", "damaged, or not of format 1 .format 'one' is not a number.; remove the folder or choose another"),
    ],
)
def test_another_format_is_refused_and_left_as_it_is(
    number: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped_run(tmp_path / "stopped", monkeypatch)
    rewrite_state(tmp_path / "stopped", {"format": number, "other": run})
    training_lab.run(tmp_path / "finished", epochs=2)
    (tmp_path / "finished/metrics.json").write_text(json.dumps({"format": number}))
    for path in (tmp_path / "stopped/state.safetensors", tmp_path / "finished/metrics.json"):
        before = path.read_bytes()
        with pytest.raises(va.errors.TrainingError, match=f"{path.name}: {message}"):
            training_lab.run(path.parent, epochs=2)
        assert path.read_bytes() == before


def test_two_runs_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_module.train_epoch

    def meddled(*arguments: object) -> object:
        monkeypatch.setattr(run_module, "train_epoch", real)
        with pytest.raises(va.errors.TrainingError, match="another run is working in this folder"):
            training_lab.run(tmp_path)
        return real(*arguments)

    monkeypatch.setattr(run_module, "train_epoch", meddled)
    training_lab.run(tmp_path, epochs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in class folders, for the command line: 20 to 24 of each class, so that no split divides evenly."""
    root = tmp_path_factory.mktemp("photos")
    data = training_lab.colours(train=(0, 1, 2) * 22)
    for index, label in enumerate(data.train.labels):
        name = ("Good_Apple", "Bad_Apple", "Good_Banana")[label]
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(np.asarray(data.train.load(index))).save(root / name / f"{index}.png")
    return root


def test_two_processes_learn_and_count_what_one_does(folder: Path, tmp_path: Path) -> None:
    options = ["finetune", "fruitsgb", "--data", str(folder), "--model", "test_vit", "--no-pretrained", "--cpu"]
    options += ["--epochs", "2", "--batch-size", "6", "--workers", "0", "--learning-rate", "1e-4"]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "vitattn_widgets"]
    assert cli.main([*options, "-o", str(tmp_path / "one")]) == 0
    with child(*launch, *options, "-o", str(tmp_path / "two")) as process:
        printed = process.communicate(timeout=200)[0]
    assert process.returncode == 0
    assert printed.count("epoch 2 of 2: training") == printed.count("test accuracy") == 1  # only one process prints
    numbers = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert np.sum(numbers[0]["confusion"]) == np.sum(numbers[1]["confusion"]) > 6
    assert np.sum(numbers[0]["confusion"]) % 6  # the last batch is not full: a process counts no photo twice
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-3, rtol=0)
    for first, second in zip(numbers[0]["history"], numbers[1]["history"], strict=True):
        assert second["train_loss"] == pytest.approx(first["train_loss"], abs=1e-2)
        assert second["validation_loss"] == pytest.approx(first["validation_loss"], abs=1e-2)
    assert json.loads((tmp_path / "two/best.json").read_text())["processes"] == 2


def test_a_batch_that_cannot_be_divided_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 3)
    with pytest.raises(va.errors.TrainingError, match="a batch of 8 does not divide evenly among 3 processes"):
        training_lab.run(tmp_path / "run")
    shutil.rmtree(tmp_path)
