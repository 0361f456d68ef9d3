"""Versions: what the kit needs, whether it fits together, and what shows its widgets."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .check import Check
from .trial import Step

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "vitattn_widgets"

NOT_TRIED = "not tried, because something before it fails"

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch publishes its builds for CPUs."""

WIDGET_SCRIPTS = (
    "labextensions/@jupyter-widgets/jupyterlab-manager/package.json",
    "labextensions/anywidget/package.json",
)
"""What JupyterLab and Notebook need below one of Jupyter's data folders to show a widget."""


def check_kit() -> Check:
    """The kit itself, and where it lies."""
    return Check(PACKAGE, "ok", f"{__version__}, in {Path(__file__).parents[1]}")


def check_python() -> Check:
    """Python, the system that it runs on, and its environment."""
    return Check("Python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.prefix}")


def check_requirements() -> Check:
    """Whether what the kit and torchvision ask for is installed, in versions that fit."""
    name = "requirements"
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return Check(name, "problem", "cannot be compared: packaging is missing", "pip install packaging")
    wanted = [Requirement(line) for distribution in (PACKAGE, "torchvision") for line in _requires(distribution)]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = {f'"{one.name}{one.specifier}"': one.name for one in wanted if not _fits(one)}
    if wrong:
        found = ", ".join(f"{one} is {installed_version(one) or 'missing'}" for one in dict.fromkeys(wrong.values()))
        return Check(name, "problem", found, f"pip install {' '.join(wrong)}")
    if not installed_version(PACKAGE):
        return Check(name, "absent", "not compared: pip has no record of the kit", "pip install . in its folder")
    return Check(name, "ok", f"all {len(wanted)} are there, in versions that fit")


def _fits(requirement: Requirement) -> bool:
    version = installed_version(requirement.name)
    return bool(version) and requirement.specifier.contains(version, prereleases=True)


def _requires(distribution: str) -> list[str]:
    return metadata.requires(distribution) or [] if installed_version(distribution) else []


def installed_version(distribution: str) -> str:
    """The version of which pip or conda has a record; empty if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def build_version(module: str) -> str:
    """The version of a module with the tag of its build, such as ``2.13.0+cpu``, without importing the module.

    The tag is often missing in the record of the installation, but not in the file ``version.py``.
    """
    spec = importlib.util.find_spec(module)
    if spec is None:
        return ""
    file = Path(spec.origin or "").parent / "version.py"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    found = re.search(r"^__version__.*?=\s*['\"]([^'\"]+)['\"]", text, flags=re.MULTILINE)
    return found[1] if found else installed_version(module)


def check_imports(steps: Mapping[str, Step]) -> Iterator[Check]:
    """torch, torchvision and timm: what happened when they were imported, and whether they are of one source."""
    torch = build_version("torch")
    for name in ("torch", "torchvision", "timm"):
        version, step = build_version(name), steps.get(name)
        if step is None:
            yield Check(name, "absent", f"{version or 'missing'}; {NOT_TRIED}")
        elif not version:
            yield Check(name, "problem", "missing", f"pip install {name}")
        elif not step.error:
            yield Check(name, "ok", version + (_source(torch, version) if name == "torchvision" else ""))
        elif name == "torchvision" and _tag(torch) != _tag(version):
            found = f"{version} is not of the source of torch {torch}: {step.error}"
            yield Check(name, "problem", found, _reinstall_pair(torch))
        else:
            advice = f"pip install --force-reinstall {name}" if name == "timm" else _reinstall_pair(torch)
            yield Check(name, "problem", f"{version} cannot be imported: {step.error}", advice)


def _reinstall_pair(torch: str) -> str:
    index = f" --index-url {CPU_INDEX}" if _tag(torch) == "cpu" else ""
    return f"pip install --force-reinstall torch torchvision{index}"


def _tag(version: str) -> str:
    return version.partition("+")[2]


def _source(torch: str, torchvision: str) -> str:
    if _tag(torch) == _tag(torchvision):
        return ", of the same source as torch"
    return f", of another build than torch {torch}, which works here"


def check_front_ends() -> Iterator[Check]:
    """What shows the page and the widgets."""
    for name, purpose in (("gradio", "the page"), ("anywidget", "the explorer"), ("huggingface_hub", "the weights")):
        version = installed_version(name)
        advice = "" if version else f"pip install {name}, which {purpose} needs"
        yield Check(name, "ok" if version else "problem", version or "missing", advice)
    yield _check_notebooks()


def _check_notebooks() -> Check:
    name = "notebooks"
    versions = {title: installed_version(title.lower()) for title in ("JupyterLab", "Notebook", "marimo")}
    found = ", ".join(f"{title} {version}" for title, version in versions.items() if version)
    if not found:
        return Check(name, "absent", "none in this environment", "pip install jupyterlab, or use one from elsewhere")
    folders = _data_folders()
    missing = [script for script in WIDGET_SCRIPTS if not any((folder / script).is_file() for folder in folders)]
    if not versions["JupyterLab"] and not versions["Notebook"]:
        return Check(name, "ok", found)
    if missing:
        return Check(
            name,
            "problem",
            f"{found}, without the scripts of widgets: no {' and no '.join(missing)}",
            "pip install --force-reinstall anywidget jupyterlab_widgets, then reload the page",
        )
    return Check(name, "ok", f"{found}, with the scripts of widgets")


def _data_folders() -> list[Path]:
    """Where Jupyter looks for the scripts of widgets."""
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return [Path(sys.prefix) / "share" / "jupyter"]
    return [Path(folder) for folder in jupyter_path()]
