"""A finished sweep as values: its table, its mean maps, and what they say of right and wrong predictions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import DataError, SweepError
from ..evaluation.result import RESAMPLES, bootstrap_interval
from ..files import write_file
from .folder import Part, SweepFolder, SweepState, sinks_at
from .measure import RIGHT, SWEPT, WRONG, Classes, Sums, look_first

if TYPE_CHECKING:
    from pandas import DataFrame, Series

LEAST = 5
"""Photos of each group without which there is no interval: resampling fewer says next to nothing of the others."""

MOST_RESAMPLED = 20_000
"""Photos up to which an interval is drawn by the bootstrap."""

MASK_COLUMNS = ("mass_on_mask", "mask_area")


class Difference(NamedTuple):
    """How much more of a measure wrong predictions have than right ones.

    Attributes:
        right: mean of the right ones.
        wrong: mean of the wrong ones.
        difference: wrong minus right.
        low: lower end of its 95 % interval; NaN where a group has fewer than `LEAST` photos.
        high: upper end.
    """

    right: float
    wrong: float
    difference: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """The interval in words."""
        if np.isnan(self.low):
            return f"too few photos for an interval (fewer than {LEAST})"
        return f"95\u00a0% interval {self.low:+.3f} to {self.high:+.3f}"


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A finished sweep.

    Attributes:
        folder: where everything lies.
        title: model and data in words; a stand-in is called so.
        table: a row a photo and layer, as `table_file` holds it. Not to be changed.
        table_file: Parquet or CSV.
        report: a web page that needs nothing but itself.
        mean_maps: of each class, float32 ``(layers, rows, cols)``: the mean of its photos' maps, each divided by its
            sum. The classes are those of the data, or the predicted ones where the data have none.
        right_maps: likewise of the right and of the wrong predictions (``"right"``, ``"wrong"``), where there are any.
        skipped: one line a file that could not be read.
        state: what the sweep is, with the places of the model's sinks.
    """

    folder: Path
    title: str
    table: DataFrame = field(repr=False)
    table_file: Path
    report: Path
    mean_maps: Mapping[str, np.ndarray] = field(repr=False)
    right_maps: Mapping[str, np.ndarray] = field(repr=False)
    skipped: tuple[str, ...] = field(repr=False)
    state: SweepState = field(repr=False)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.state.identity["options"]["layers"])

    @property
    def grid(self) -> tuple[int, int]:
        rows, cols = self.state.facts["grid"]
        return rows, cols

    @property
    def has_classes(self) -> bool:
        """Whether the data say classes."""
        return bool(self.table["label"].notna().any())

    def sinks(self, layer: int) -> np.ndarray:
        """The model's sinks in a layer, bool ``(rows, cols)``."""
        return sinks_at(self.state.sinks[str(layer)], self.grid)

    def of_layer(self, layer: int | None = None) -> DataFrame:
        """The rows of one layer, a row a photo; None is the deepest, which the report shows."""
        return self.table[self.table["layer"] == (self.layers[-1] if layer is None else layer)]

    def by_class(self) -> DataFrame:
        """Means of the deepest layer by class: ``photos``, ``accuracy`` and the measures, most on the border first."""
        photos = self.of_layer()
        groups = photos.groupby(photos["label" if self.has_classes else "predicted"].fillna("no class said"))
        table = groups[[name for name in SWEPT if name in photos]].mean()
        table.insert(0, "photos", groups.size())
        table.insert(1, "accuracy", groups["right"].mean().astype("float64"))
        table.insert(2, "confidence", groups["confidence"].mean())
        return table.sort_values("border_share_without_sinks", ascending=False, kind="stable")

    def right_and_wrong(self, measure: str = "border_share") -> Difference | None:
        """How a measure differs between wrong and right predictions; None where either does not exist."""
        photos = self.of_layer().dropna(subset=["right", measure])
        right, wrong = (photos.loc[photos["right"] == said, measure].to_numpy() for said in (True, False))
        if not len(right) or not len(wrong):
            return None
        return difference(right, wrong)

    def describe(self) -> str:
        """What was found, in a few lines, and where everything lies."""
        photos = self.of_layer()
        lines = [f"{self.title}: {len(photos)} photos, {len(self.skipped)} problems with files"]
        counted = photos["right"].notna().sum()
        if counted:
            lines.append(f"accuracy {photos['right'].mean():.3f} on the {counted} photos whose class the model has")
        found = self.right_and_wrong()
        if found is not None:
            lines.append(
                f"border share {found.right:.3f} where it is right, {found.wrong:.3f} where it is wrong: difference "
                f"{found.difference:+.3f}, {found.interval}"
            )
        first = photos.sort_values("look_first")["photo"].head(3)
        lines.append(f"look first at {', '.join(first)}")
        lines.append(f"table {self.table_file}, report {self.report}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.describe()


def difference(right: np.ndarray, wrong: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """The difference of two groups' means and its 95 % interval.

    The bootstrap over photos, each group drawn from itself (`bootstrap_interval`); of more
    than `MOST_RESAMPLED` photos the normal interval, which by then is the same.
    """
    means = float(right.mean()), float(wrong.mean())
    if min(len(right), len(wrong)) >= LEAST and len(right) + len(wrong) > MOST_RESAMPLED:
        half = 1.96 * float(np.sqrt(right.var() / len(right) + wrong.var() / len(wrong)))
        return Difference(*means, means[1] - means[0], means[1] - means[0] - half, means[1] - means[0] + half)
    if min(len(right), len(wrong)) < LEAST:
        return Difference(*means, means[1] - means[0], np.nan, np.nan)

    def drawn_difference(rng: np.random.Generator) -> float:
        drawn = wrong[rng.integers(len(wrong), size=len(wrong))].mean()
        return float(drawn - right[rng.integers(len(right), size=len(right))].mean())

    low, high = bootstrap_interval(drawn_difference, resamples, seed)
    return Difference(*means, means[1] - means[0], float(low), float(high))


def write_results(
    folder: SweepFolder, parts: Sequence[tuple[dict[str, np.ndarray], Part]], names: Sequence[str], classes: Classes
) -> None:
    """Put the parts together: table, mean maps, and what was left out.

    Args:
        folder: where they are written.
        parts: all of them, in order.
        names: one a photo.
        classes: of the photos and of the model.

    Raises:
        DataError: no photo could be read.
    """
    problems = [text for _, part in parts for _, text in part.problems]
    filled = [columns for columns, _ in parts if columns]
    if not filled:
        raise DataError(f"none of the {len(names)} photos can be read; the first: {problems[0]}")
    columns = {name: np.concatenate([part[name] for part in filled]) for name in filled[0]}
    write_file(folder.table, table_bytes(finished_table(columns, names, classes), folder.table_type))
    write_file(folder.mean_maps, _mean_maps([part.sums for _, part in parts], classes))
    if problems:
        write_file(folder.skipped, "".join(f"{line}\n" for line in problems).encode())


def finished_table(columns: Mapping[str, np.ndarray], names: Sequence[str], classes: Classes) -> DataFrame:
    """The table of a sweep from the lines of all its parts.

    Returns:
        A row a photo and layer: ``photo``, ``label`` and ``predicted`` (missing where nothing says one),
        ``confidence``, ``right`` (missing where the model has no such class), ``layer``, the `SWEPT` measures
        (the last two only with masks), ``look_first``.
    """
    import pandas

    order = np.lexsort((columns["layer"], columns["index"]))
    columns = {name: values[order] for name, values in columns.items()}
    index, predicted = columns["index"].tolist(), columns["predicted"].tolist()
    said = [classes.right(*pair) for pair in zip(index, predicted, strict=True)]
    table = pandas.DataFrame(
        {
            "photo": _texts([names[number] for number in index]),
            "label": _texts([classes.labels[number] or None for number in index]),
            "predicted": _texts([classes.predicted[number] if number >= 0 else None for number in predicted]),
            "confidence": columns["confidence"],
            "right": pandas.array([{RIGHT: True, WRONG: False}.get(code) for code in said], "boolean"),
            "layer": columns["layer"],
        }
        | {name: columns[name] for name in SWEPT}
    )
    table = table.drop(columns=[name for name in MASK_COLUMNS if table[name].isna().all()])
    ranks = [look_first(of_layer) for _, of_layer in table.groupby("layer")]
    return table.assign(look_first=pandas.concat(ranks))


def _texts(values: Sequence[str | None]) -> Series:
    import pandas

    return pandas.Series(values, dtype="object")


def table_bytes(table: DataFrame, table_type: str) -> bytes:
    """A table as the bytes of a Parquet or CSV file."""
    if table_type == "csv":
        return table.to_csv(index=False).encode()
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


def _mean_maps(sums: Sequence[Sums], classes: Classes) -> bytes:
    """Mean maps by class and of right and wrong predictions, as an NPZ file."""
    of_class, of_answer = Sums(), Sums()
    for part in sums:
        for (number, right), total in part.totals.items():
            count = part.counts[number, right]
            of_class.add((number, 0), total, count)
            if right in (RIGHT, WRONG):
                of_answer.add((0, right), total, count)
    numbers = sorted(number for number, _ in of_class.totals)
    answers = [right for right in (RIGHT, WRONG) if (0, right) in of_answer.totals]
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        classes=np.array([classes.groups[number] or "no class said" for number in numbers], np.str_),
        photos=np.array([of_class.counts[number, 0] for number in numbers], np.int64),
        maps=np.array([of_class.mean((number, 0)) for number in numbers], np.float32),
        answers=np.array(["right" if right == RIGHT else "wrong" for right in answers], np.str_),
        answer_maps=np.array([of_answer.mean((0, right)) for right in answers], np.float32),
    )
    return stream.getvalue()


def read_result(folder: SweepFolder, state: SweepState) -> SweepResult:
    """The finished sweep in a folder.

    Raises:
        SweepError: its files are not there or damaged.
    """
    import pandas

    try:
        table = _read_csv(folder.table) if folder.table_type == "csv" else pandas.read_parquet(folder.table)
        with np.load(folder.mean_maps, allow_pickle=False) as kept:
            maps = dict(zip(kept["classes"].tolist(), kept["maps"], strict=True))
            answers = dict(zip(kept["answers"].tolist(), kept["answer_maps"], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise SweepError(
            f"{folder.path}: this sweep is finished, but its files cannot be read ({error}); remove the folder to "
            "make them again"
        ) from error
    skipped = folder.skipped.read_text(encoding="utf-8").splitlines() if folder.skipped.is_file() else []
    title = f"{state.identity['model']['name']} on {state.identity['data']['title']}"
    return SweepResult(folder.path, title, table, folder.table, folder.report, maps, answers, tuple(skipped), state)


def _read_csv(path: Path) -> DataFrame:
    import pandas

    texts = dict.fromkeys(("photo", "label", "predicted"), "object")
    return pandas.read_csv(path, dtype=texts | {"right": "boolean"}, keep_default_na=False, na_values=[""])
