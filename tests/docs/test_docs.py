"""The documents: what they say can be run, what they link to exists, and what they name is there."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

import vitattn_widgets as va
from vitattn_widgets import cli

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
LONGEST_README = 200
TEST_COMMAND = 'pip install -e ".[test]" && pytest'

NOT_RUN = {
    "vitattn demo": "it serves until it is stopped; docs/page.md's snippet calls a page that is served here",
    "vitattn doctor": "it writes no file; tests/doctor runs it",
    "pip install": "the environment of the tests is installed already",
    "pip wheel": "tests/test_wheel.py builds the wheel",
    "conda env create": "conda is not here; tests/test_project.py compares its file with pyproject.toml",
    "hf upload": "it needs an account; tests/docs/test_places.py runs what is uploaded",
    "marimo run": "it serves until it is stopped; tests/docs/test_places.py runs the app",
    "pytest": "this is it",
    "ruff check": ".ci/run runs it",
    "ruff format": ".ci/run runs it",
    "lint-imports": ".ci/run runs it",
    "mypy": ".ci/run runs it",
    "npm": ".ci/run runs it",
    "jupytext": "it rewrites a notebook; tests/notebooks compares the pairs",
    "python -m tests.benchmarks.": "a benchmark takes minutes",
    "accelerate launch --multi_gpu": "it takes hours, and photos that are not here",
}
"""How lines of ``sh`` blocks begin that are not run here, and why."""

EXPECTED = {
    "answer.md": [
        "abs(parts.total - parts.logit) <= 1e-4 * parts.logit",
        "all(f'{number:.2f}' in page_text for number in (parts.heads[9][0], parts.heads[2][0], lost[2][0]))",
        "capture.answers.settled == 11",
    ],
    "capsule.md": [
        "np.allclose(grid_map, capture.patch_attention(11).mean(0), atol=1e-6)",
        "np.allclose(attention, capture.attention(11, (5, 8)), atol=1e-6)",
    ],
    "README.md": ["explorer.status == ''", "'head 2 of 0..2, query: patch at row 5, col 8' in picture.caption"],
    "comparing.md": ["len(compared.views) == 2"],
    "data-sets.md": ["mask is not None"],
    "places.md": ["len(explorer.store) == 7"],
    "explorer.md": ["explorer.status == ''", "len(explorer.panels) == 3", "picture.image.shape[-1] == 3"],
    "fine-tuning.md": ["0 <= result.test_accuracy <= 1"],
    "maps.md": [
        "worth.table().shape == (5, 7)",
        "abs(layer.tokens.sum() + layer.constants - divided.logit) < 1e-4 * abs(divided.logit)",
        "all(sentence in page_text for sentence in check.sentences[:2])",
    ],
    "offline-page.md": ["page.content.startswith(b'<!')"],
    "page.md": ["'head 2 of 0..2, query: patch at row 5, col 8' in caption"],
    "sweeps.md": ["len(swept.table) == 40"],
}
"""What holds of the names in a page's snippets after they ran; ``page_text`` is the page without its line breaks."""


def ident(path: Path) -> str:
    return path.name if path.parent == ROOT else f"{path.parent.name}/{path.name}"


def with_blocks(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def shell_lines(path: Path) -> list[str]:
    return [line for block in blocks(path, "sh") for line in block.splitlines() if line]


def prose(path: Path) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def spans(path: Path) -> list[str]:
    """The inline code, each on one line."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(path))]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_not_run(line: str) -> bool:
    return any(line.startswith(start) for start in NOT_RUN)


def vitattn_commands(path: Path) -> list[str]:
    """The commands of a page that are run; what stands after ``&&`` where the kit is installed first."""
    lines = [line.removeprefix("pip install -e . && ") for line in shell_lines(path)]
    return [line for line in lines if line.startswith("vitattn ") and not is_not_run(line)]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that looks like the root of a checkout."""
    (tmp_path / "vitattn_widgets").symlink_to(ROOT / "vitattn_widgets")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.delenv("VITATTN_DATA", raising=False)
    return tmp_path


# --- what is run ---


@pytest.mark.parametrize("page", [page for page in PAGES if vitattn_commands(page)], ids=ident)
def test_every_command_runs(page: Path, shared: Path, workplace: Path) -> None:
    for command in vitattn_commands(page):
        _, *arguments = shlex.split(command, comments=True)
        assert cli.main(arguments) == 0, command
        outputs = [Path(value) for option, value in itertools.pairwise(arguments) if option in ("-o", "--npz")]
        files = [file for output in outputs for file in ([output] if output.is_file() else output.iterdir())]
        assert files, command
        assert max(file.stat().st_size for file in files) > 1000, command


def test_the_readmes_commands_and_snippets_need_no_weights(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workplace / "hub"))
    for command in vitattn_commands(README):
        assert cli.main(shlex.split(command, comments=True)[1:]) == 0, command
    namespace: dict[str, Any] = {}
    for snippet in blocks(README, "python"):
        exec(compile(snippet, README.name, "exec"), namespace)
    assert namespace["explorer"].model == namespace["model"].name == "demo"
    assert "head 2 of 0..5, query: patch at row 5, col 8" in namespace["picture"].caption


@pytest.mark.parametrize("page", with_blocks("python"), ids=ident)
def test_every_snippet_runs(page: Path, shared: Path, workplace: Path) -> None:
    snippets = blocks(page, "python")
    served = None
    if any(":7860" in snippet for snippet in snippets):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        served = va.build_demo()
        served.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
        snippets = [snippet.replace(":7860", f":{port}") for snippet in snippets]
    page_text = " ".join(page.read_text(encoding="utf-8").replace("\n>", "\n").split())
    namespace: dict[str, object] = {"page_text": page_text}
    try:
        for snippet in snippets:
            exec(compile(snippet, page.name, "exec"), namespace)
        for condition in EXPECTED[page.name]:
            assert eval(condition, namespace), condition
    finally:
        if served is not None:
            served.close(verbose=False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=ident)
def test_every_other_line_of_the_shell_is_known(document: Path) -> None:
    for line in shell_lines(document):
        assert line.removeprefix("pip install -e . && ") in vitattn_commands(document) or is_not_run(line), line


def test_every_exception_is_needed() -> None:
    lines = [line for document in DOCUMENTS for line in shell_lines(document)]
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in lines), start


# --- what is named ---


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each of vitattn's commands."""
    (commands,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {name: set(parser._option_string_actions) for name, parser in commands.choices.items()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=ident)
def test_every_command_and_option_that_is_named_exists(document: Path, options: dict[str, set[str]]) -> None:
    for code in spans(document):
        named = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", code))
        if found := re.match(
            r"(?:accelerate launch (?P<first>.*)-m vitattn_widgets|vitattn) (?P<command>[a-z]+)", code
        ):
            of_accelerate = {"-m", *re.findall(r"--\w+", found["first"] or "")} if found["first"] else set()
            assert named - of_accelerate <= options[found["command"]], code
        elif code.startswith("--"):
            assert any(named <= possible for possible in options.values()), code


@pytest.mark.parametrize("document", DOCUMENTS, ids=ident)
def test_every_benchmark_and_module_that_is_named_exists(document: Path) -> None:
    for code in [*spans(document), *shell_lines(document)]:
        for module in re.findall(r"-m ((?:tests|vitattn_widgets)[\w.]*)", code):
            assert importlib.util.find_spec(module), code
        if found := re.match(r"python (?:-m )?tests[./]benchmarks[./](\w+)", code):
            text = (ROOT / "tests" / "benchmarks" / f"{found.group(1)}.py").read_text(encoding="utf-8")
            for option in re.findall(r"--[a-z-]+", code):
                assert f'"{option}"' in text, code


@pytest.mark.parametrize("document", DOCUMENTS, ids=ident)
def test_every_public_name_that_is_written_exists(document: Path) -> None:
    for name in re.findall(r"\bva((?:\.[A-Za-z_]+)+)", document.read_text(encoding="utf-8")):
        value: object = va
        for part in name.split(".")[1:]:
            value = getattr(value, part)


@pytest.mark.parametrize("document", DOCUMENTS, ids=ident)
def test_every_file_that_is_named_exists(document: Path) -> None:
    folders = "|".join(path.name for path in (ROOT / "vitattn_widgets").iterdir() if path.is_dir())
    for code in spans(document):
        if re.fullmatch(r"(tests|vitattn_widgets|docs|notebooks|\.ci)/[\w./*-]*", code):
            assert list(ROOT.glob(code.removesuffix("/"))), code
        elif re.fullmatch(rf"({folders})/[\w./-]*", code):
            assert (ROOT / "vitattn_widgets" / code).exists(), code


# --- what is linked ---


@pytest.mark.parametrize("document", DOCUMENTS, ids=ident)
def test_every_link_anchor_and_picture_exists(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    assert targets
    for target in targets:
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.is_relative_to(ROOT), target
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_page_stands_in_the_index_and_every_picture_in_a_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"images/{picture.name})" in everything, picture


# --- what agrees ---


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README


def test_ci_runs_the_commands_of_the_documents() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"\n{TEST_COMMAND}\n" in README.read_text(encoding="utf-8")
    assert TEST_COMMAND in ci
    checks = [line for line in shell_lines(ROOT / "CONTRIBUTING.md") if not line.startswith(("pip", "pytest"))]
    assert checks
    assert [line for line in ci.splitlines() if line in checks] == checks


def test_the_hooks_run_the_checks_of_ci_with_the_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for hook in repository["hooks"]:
        assert f"\n{hook['name']}" in ci, hook["name"]
        assert hook["entry"].startswith(hook["name"])


def test_the_citation_is_the_papers_and_has_no_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert "version" not in citation
    paper = citation["preferred-citation"]
    assert f'"{paper["title"]}"' in " ".join(README.read_text(encoding="utf-8").split())
    assert [author["family-names"] for author in paper["authors"]] == ["Calderaro", "Lo Bosco", "Rizzo", "Vella"]
