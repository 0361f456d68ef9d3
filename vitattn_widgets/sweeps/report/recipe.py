"""How a sweep was made: the last section of its report, and the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import TYPE_CHECKING

from ..measure import SINK_PHOTOS
from .html import section

if TYPE_CHECKING:
    from ..result import SweepResult


def recipe_section(result: SweepResult) -> str:
    """Everything that determines the result, with the command."""
    identity, facts = result.state.identity, result.state.facts
    options = identity["options"]
    view = identity["model"]
    lines = {
        "model": facts["model"],
        "weights": f"SHA-256 {identity['model']['weights']}",
        "input": f"{' x '.join(map(str, view['size']))} px, {view['interpolation']}, crop {view['crop_pct']:g} "
        f"({view['crop_mode']}), mean {_numbers(view['mean'])}, std {_numbers(view['std'])}",
        "photos": f"{identity['data']['title']}, {identity['data']['photos']:,}; names, classes and files: SHA-256 "
        f"{identity['data']['fingerprint']}",
        "map": f"plain attention, layers {', '.join(map(str, options['layers']))}, heads aggregated by "
        f"{options['aggregation']}, batches of {options['batch_size']}",
        "sinks": f"determined on {SINK_PHOTOS} photos of the set; " + _sink_places(result.state.sinks),
        "versions": ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        "licence of the data": facts["licence"],
        "date": date.today().isoformat(),
    }
    content = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in lines.items() if text)
    again = command(result)
    how = f"<p>Made by</p><pre>{escape(again)}</pre>" if again else ""
    return section("Recipe", f"<dl class='terms'>{content}</dl>{how}")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _sink_places(sinks: Mapping[str, Sequence[Sequence[int]]]) -> str:
    places = [
        f"layer {layer}: {', '.join(f'({r}, {c})' for r, c in of_layer) or 'none'}" for layer, of_layer in sinks.items()
    ]
    return "; ".join(places)


def command(result: SweepResult) -> str:
    """The command that makes a sweep again; empty if its model or photos have no name."""
    facts, options = result.state.facts, result.state.identity["options"]
    source, loaded = facts["source"], facts["loaded_with"]
    if source["photos"] is None or loaded is None:
        return ""
    words = ["vitattn", "sweep", source["photos"]]
    if "checkpoint" in loaded:
        words += ["--checkpoint", loaded["checkpoint"]]
    else:
        words += ["--model", loaded["model"]]
    for name in ("split", "data", "limit"):
        words += [f"--{name}", str(source[name])] if source[name] is not None else []
    if source["stand_in"] is not None:
        words.append("--stand-in" if source["stand_in"] else "--no-stand-in")
    words += ["--layers", *map(str, options["layers"]), "--aggregation", options["aggregation"]]
    words += ["--batch-size", str(options["batch_size"]), "--table", options["table"]]
    words += ["--pictures", str(options["pictures"]), "-o", str(result.folder)]
    return shlex.join(words)
