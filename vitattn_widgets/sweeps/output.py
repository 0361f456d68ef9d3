"""The final files of a sweep: the table and the mean maps, written from its parts and read as a result."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, SweepError
from ..files import write_file
from .folder import Part, SweepFolder, SweepState
from .measure import NO_CLASS, RIGHT, SWEPT, WRONG, Classes, Sums, look_first
from .result import SweepResult

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MASK_COLUMNS = ("mass_on_mask", "mask_area")
"""Columns that only masks fill; without any, the table does not have them."""


def write_results(
    folder: SweepFolder, parts: Sequence[tuple[dict[str, np.ndarray], Part]], names: Sequence[str], classes: Classes
) -> None:
    """Merge the parts into the table, the mean maps and the list of files that could not be read.

    Args:
        folder: where the files are written.
        parts: all parts, in order.
        names: of the photos.
        classes: of the photos and of the model.

    Raises:
        DataError: no photo could be read.
        SettingsError: the disk is full or the folder cannot be written to.
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
        One row per photo and layer: ``photo``, ``label`` and ``predicted`` (missing if unknown), ``confidence``,
        ``right`` (missing where the model has no such class), ``layer``, the `SWEPT` measures (the last two only with
        masks), ``look_first``.
    """
    import pandas

    order = np.lexsort((columns["layer"], columns["index"]))
    columns = {name: values[order] for name, values in columns.items()}
    index, predicted = columns["index"].tolist(), columns["predicted"].tolist()
    verdicts = [classes.right(*pair) for pair in zip(index, predicted, strict=True)]
    table = pandas.DataFrame(
        {
            "photo": _texts([names[number] for number in index]),
            "label": _texts([classes.labels[number] or None for number in index]),
            "predicted": _texts([classes.predicted[number] if number >= 0 else None for number in predicted]),
            "confidence": columns["confidence"],
            "right": pandas.array([{RIGHT: True, WRONG: False}.get(code) for code in verdicts], "boolean"),
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
    """The bytes of a table as a Parquet or CSV file."""
    if table_type == "csv":
        return table.to_csv(index=False).encode()
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


def _mean_maps(sums: Sequence[Sums], classes: Classes) -> bytes:
    """Mean maps by class, and of right and wrong predictions, as an NPZ file."""
    by_class, by_verdict = Sums(), Sums()
    for part in sums:
        for (number, right), total in part.totals.items():
            count = part.counts[number, right]
            by_class.add((number, 0), total, count)
            if right in (RIGHT, WRONG):
                by_verdict.add((0, right), total, count)
    numbers = sorted(number for number, _ in by_class.totals)
    verdicts = [right for right in (RIGHT, WRONG) if (0, right) in by_verdict.totals]
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        classes=np.array([classes.groups[number] or NO_CLASS for number in numbers], np.str_),
        photos=np.array([by_class.counts[number, 0] for number in numbers], np.int64),
        maps=np.array([by_class.mean((number, 0)) for number in numbers], np.float32),
        answers=np.array(["right" if right == RIGHT else "wrong" for right in verdicts], np.str_),
        answer_maps=np.array([by_verdict.mean((0, right)) for right in verdicts], np.float32),
    )
    return stream.getvalue()


def read_result(folder: SweepFolder, state: SweepState) -> SweepResult:
    """The finished sweep in a folder.

    Raises:
        SweepError: its files are missing or damaged.
    """
    import pandas

    try:
        table = _read_csv(folder.table) if folder.table_type == "csv" else pandas.read_parquet(folder.table)
        with np.load(folder.mean_maps, allow_pickle=False) as arrays:
            maps = dict(zip(arrays["classes"].tolist(), arrays["maps"], strict=True))
            right_maps = dict(zip(arrays["answers"].tolist(), arrays["answer_maps"], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise SweepError(
            f"{folder.path}: this sweep is finished, but its files cannot be read ({error}); remove the folder "
            "and run the same command again"
        ) from error
    skipped = folder.skipped.read_text(encoding="utf-8").splitlines() if folder.skipped.is_file() else []
    title = f"{state.identity['model']['name']} on {state.identity['data']['title']}"
    return SweepResult(folder.path, title, table, folder.table, folder.report, maps, right_maps, tuple(skipped), state)


def _read_csv(path: Path) -> DataFrame:
    import pandas

    texts = dict.fromkeys(("photo", "label", "predicted"), "object")
    return pandas.read_csv(path, dtype=texts | {"right": "boolean"}, keep_default_na=False, na_values=[""])
