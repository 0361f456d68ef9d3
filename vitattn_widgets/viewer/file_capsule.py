"""The capsule of a file that stands alone: as much as fits, and a sentence about each part that does not."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..capture.capture import AttentionCapture
from ..errors import ModelError, SettingsError
from ..maps.resolve import fit_settings
from ..maps.settings import MapSettings
from ..maps.sources import CATALOGUE, Source
from ..models.classes import likely_classes
from ..models.tokens import Query
from ..view.captions import listed
from ..view.recipe import make_recipe
from ..view.settings import ViewSettings
from .answers import answer_parts, answer_tensors, direct_tensors, silenced_tensors, with_answers
from .capsule import Facts, capsule_facts, first_tensors, picture_parts, with_norms, without_folders
from .tensors import (
    Tensors,
    has_operands,
    is_one_softmax,
    map_tensors,
    norm_tensors,
    operand_tensors,
    pack,
    row_tensors,
)

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

CLASSES = 3
"""Number of predicted classes whose maps a file holds, if they fit."""

BITS = 13
"""Precision of queries and keys in a file, about that of float16: gzip packs the zeros below."""

NOT_HERE = "not in this file"
"""Why a source rests that a file was made without."""

RESERVE = 2_000
"""Bytes kept free for the sentences about what is left out."""

BY_CLASS = ("gradients", "contributions")
"""The kinds of parts that hold maps of one class."""

Part = tuple[str, int | None]
"""A part of a file: its kind, and the number of its layer or class."""

Progress = Callable[[Iterable[Any]], Iterable[Any]]


def make_file_capsule(
    model: AttentionModel,
    capture: AttentionCapture,
    name: str = "",
    settings: MapSettings | None = None,
    *,
    room: int,
    sources: Sequence[str] = tuple(CATALOGUE),
    classes: int = CLASSES,
    progress: Progress = iter,
) -> bytes:
    """The gzip-compressed capsule of a file that stands alone: the most useful parts first, as long as they fit.

    Beside the light capsule it holds the maps of every layer by the sources that a browser cannot compute and the parts
    of all heads in the answer, for the most probable classes, and queries and keys, from the last layer to the first,
    so that patches can be the query. Its facts say what it lacks (``left_out``) and hold a recipe of the photo. Equal
    input, equal bytes.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        name: of the photo; of a path, only the last part goes into the file.
        settings: the map that the file opens with, whose query and class it holds in any case; None is the default.
        room: largest size in bytes.
        sources: the sources that readers can choose.
        classes: number of classes, from the most probable one on.
        progress: wraps the iterable of parts, like `tqdm`.

    Raises:
        SettingsError: settings that this capture does not have, or no room for the photo and its first maps.
    """
    settings = settings or MapSettings()
    name = Path(name).name
    named = without_folders(model)
    capture, no_answers = with_answers(model, capture)
    capture, no_norms = with_norms(model, capture)
    picture, pixels = picture_parts(capture, name, name or None)
    answers, followed = answer_parts(capture, no_answers)
    facts = capsule_facts(named, capture, no_norms, picture, answers)
    facts["recipe"] = make_recipe(model, capture, ViewSettings(), path=name or None)  # reads the checkpoint's file
    facts["recipe"]["model"]["load"] = named.loaded_with
    for source in facts["sources"]:
        if source["name"] not in sources:
            source["unavailable"] = NOT_HERE
    tensors = first_tensors(capture) | pixels | followed
    for layer, query in _queries(capture, settings):
        tensors |= row_tensors(capture, layer, query)
    left = room - len(_packed(facts, tensors)) - RESERVE
    if left < 0:
        raise SettingsError(
            f"the photo and its first maps take {(room - left) / 1e6:.2f} MB, and the file has room for "
            f"{room / 1e6:.2f} MB; scale the photo down, or choose a model with fewer layers, heads or patches"
        )
    kept: dict[Part, Tensors] = {}
    for part, compute in progress(_parts(model, capture, facts, settings, classes)):
        try:
            added = compute()
        except ModelError as error:  # no gradient flows through this model, or its contributions do not add up
            for source in facts["sources"]:
                if _kind(CATALOGUE[source["name"]]) == part[0]:
                    source["unavailable"] = source["unavailable"] or str(error)
            continue
        size = len(_packed(None, added))
        if size <= left:
            kept[part] = added
            left -= size
    while True:
        facts["left_out"] = _left_out(capture, facts, kept)
        content = _packed(facts, tensors | {name: tensor for part in kept.values() for name, tensor in part.items()})
        if len(content) <= room:
            return content
        kept.popitem()  # parts measured one by one take a little less


def _packed(facts: Facts | None, tensors: Tensors) -> bytes:
    return gzip.compress(pack(facts, tensors), mtime=0)  # a time would differ from run to run


def _queries(capture: AttentionCapture, settings: MapSettings) -> Iterator[tuple[int, Query]]:
    """Each layer with its default query, and with the one that the settings become there: what its reader will see.

    Raises:
        SettingsError: no such layer, or a query that it does not have.
    """
    capture.query_indices(settings.layer, settings.query)
    grid = capture.layers[capture.layer_index(settings.layer)].tokens.query_grid
    for layer in range(capture.num_layers):
        default = capture.query_or_default(layer)
        yield layer, default
        own = fit_settings(replace(settings, layer=layer), capture, grid=grid).query
        if own not in (None, default):
            yield layer, own


def _parts(
    model: AttentionModel, capture: AttentionCapture, facts: Facts, settings: MapSettings, classes: int
) -> list[tuple[Part, Callable[[], Tensors]]]:
    """What may be left out, the most useful first, and how each is computed."""
    layers = range(capture.num_layers)
    here = [CATALOGUE[source["name"]] for source in facts["sources"] if not source["unavailable"]]

    def maps(kind: str, target: int | None = None) -> Tensors:
        wanted = [
            MapSettings(layer=layer, query=query, source=source.name, target=target, aggregation=fusion)
            for source in here
            if _kind(source) == kind
            for fusion in (source.aggregations if source.fuses_heads else ("mean",))
            for layer, query in _queries(capture, settings)
        ]
        return map_tensors(model, capture, wanted)[0]

    def rows() -> Tensors:
        named = (row_tensors(capture, layer, query) for layer in layers for query in capture.queries(layer))
        return {name: tensor for one in named for name, tensor in one.items()}

    def norms() -> Tensors:
        return {name: tensor for layer in layers for name, tensor in norm_tensors(capture, layer).items()}

    parts: list[tuple[Part, Callable[[], Tensors]]] = [(("rows", 0), rows), (("maps", None), partial(maps, "maps"))]

    def tables(target: int) -> Tensors:
        tensors = answer_tensors(capture, target)
        if not facts["answers"]["no_silenced"]:
            tensors |= silenced_tensors(model, capture, target)
        try:
            tensors |= direct_tensors(model, capture, target)
        except ModelError as error:
            facts["answers"]["no_direct"] = str(error)
        return tensors

    first, likely = capture.resolve_target(settings.target), likely_classes(capture.probabilities, classes)
    targets = list(dict.fromkeys([first, *likely]))
    known = [target for target in targets if target is not None and capture.direction(target) is None]
    in_answer = [(("tables", target), partial(tables, target)) for target in known]
    kinds = [kind for kind in reversed(BY_CLASS) if any(_kind(source) == kind for source in here)]
    by_class = [[((kind, target), partial(maps, kind, target)) for kind in kinds] for target in targets]
    operands = [
        (("operands", layer), partial(operand_tensors, capture, layer, BITS))
        for layer in reversed(layers)
        if has_operands(capture, layer)
    ]
    if any(source.norms for source in here):
        parts.append((("norms", 0), norms))
    return [*parts, *by_class[0], *in_answer, *operands, *chain.from_iterable(by_class[1:])]


def _kind(source: Source) -> str:
    """The kind of part that holds the maps of a source; empty if they follow from rows and value norms."""
    if source.plain or source.norms:
        return ""
    return "maps" if source.no_class else BY_CLASS[source.signed]


def _left_out(capture: AttentionCapture, facts: Facts, kept: Collection[Part]) -> list[str]:
    """Sentences about what a file does not hold."""
    here = [source for source in facts["sources"] if not source["unavailable"]]
    sentences = []
    if ("rows", 0) not in kept:
        sentences.append("The default query alone can be chosen, as the rows of the others did not fit.")
    if ("norms", 0) not in kept and any(source["norms"] for source in here):
        sentences.append("The source “attention x value norm” did not fit.")
    if ("maps", None) not in kept and any(source["fuses_heads"] for source in here):
        sentences.append("The source “rollout” did not fit.")
    sentences += _by_class_left_out(capture, {_kind(CATALOGUE[source["name"]]) for source in here}, kept)
    if capture.class_names and not any(kind == "tables" for kind, _ in kept):
        sentences.append("The tables of each head's part in the answer did not fit.")
    if any(not (source["plain"] or source["norms"]) for source in here):
        sentences.append("Sources other than attention and value norms show the default query alone.")
    patches = [layer for layer in range(capture.num_layers) if capture.layers[layer].tokens.query_patches]
    without = {
        layer: "queries and keys did not fit" if is_one_softmax(capture, layer) else "attention is no plain softmax"
        for layer in patches
        if ("operands", layer) not in kept
    }
    for reason in dict.fromkeys(without.values()):
        where = _layers([layer for layer in without if without[layer] == reason])
        sentences.append(f"A patch cannot be the query in {where}, whose {reason}.")
    return sentences


def _by_class_left_out(capture: AttentionCapture, kinds: Collection[str], kept: Collection[Part]) -> list[str]:
    """The classes whose maps a file holds, by kind of source, or once if all kinds hold the same."""
    words = {"gradients": "with gradients", "contributions": "of contributions"}
    held = {
        kind: [capture.answer_words(target) for own, target in kept if own == kind] for kind in words if kind in kinds
    }
    if len(held) == 2 and held["gradients"] == held["contributions"]:
        held, words = {"gradients": held["gradients"]}, {"gradients": "that depend on a class"}
    sentences = []
    for kind, names in held.items():
        if not names:
            sentences.append(f"The sources {words[kind]} did not fit.")
        elif capture.class_names:
            sentences.append(f"Of the sources {words[kind]}, it holds the maps for {listed(names)} alone.")
    return sentences


def _layers(numbers: Sequence[int]) -> str:
    """``"layers 0 to 3 and 7"``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"{'layers' if len(numbers) > 1 else 'layer'} {listed(words)}"
