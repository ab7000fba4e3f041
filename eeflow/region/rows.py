"""How getRegion's rows are read: an answer's JSON becomes columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from eeflow.errors import BadAnswer

# Bytes that are parsed at a time: what is held besides the result grows with it, the speed does not.
_PIECE = 2**20
_BETWEEN_ROWS = b"],["
_LEADING = ["id", "longitude", "latitude", "time"]


@dataclass(frozen=True)
class Rows:
    """A decoded answer, by column.

    Attributes:
        names: the scene ids that occur.
        scene: of each row, which of `names` it is.
        longitude: degrees, pixel centre.
        latitude: degrees, pixel centre.
        values: by band, float64 with NaN for null.
    """

    names: Sequence[str]
    scene: NDArray[np.int32]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


def decode(body: bytes, bands: Sequence[str]) -> Rows:
    """The rows of an answer's JSON body.

    A compact JSON list of rows is, but for its brackets, a CSV file, which Arrow parses without making a Python object
    for each of up to a million rows. A body with spaces or escapes is made compact first.

    Raises:
        BadAnswer: the body is cut or malformed, or has other columns than asked.
    """
    try:
        return _parse(body, bands)
    except (pa.ArrowInvalid, orjson.JSONDecodeError):
        return _parse_compacted(body, bands)


def _parse_compacted(body: bytes, bands: Sequence[str]) -> Rows:
    try:
        content = orjson.loads(body)
        if not (isinstance(content["result"], list) and all(isinstance(row, list) for row in content["result"])):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BadAnswer("Earth Engine's answer is not the list of rows that getRegion gives.") from None
    try:
        return _parse(orjson.dumps({"result": content["result"]}), bands)
    except (pa.ArrowInvalid, orjson.JSONDecodeError):
        raise BadAnswer("getRegion returned a row of another length or kind than its header says.") from None


def _parse(body: bytes, bands: Sequence[str]) -> Rows:
    """Raises ArrowInvalid or JSONDecodeError when the body is not compact, or not what it should be."""
    first, last = _rows_of(body, bands)
    count = body.count(_BETWEEN_ROWS, 0, last)
    names: dict[str, int] = {}
    scene, longitude, latitude = np.empty(count, np.int32), np.empty(count), np.empty(count)
    values = {name: np.empty(count) for name in bands}
    columns = {"longitude": longitude, "latitude": latitude, **values}
    end = 0
    for piece in _pieces(body, first, last):
        table = _read(piece, bands)
        start, end = end, end + len(table)
        if end > count:
            break
        for name, column in columns.items():
            _copy(table[name].chunks, column[start:end])
        ids = table["id"].unify_dictionaries()
        numbers = [names.setdefault(name, len(names)) for name in ids.chunk(0).dictionary.to_pylist()]
        codes = np.empty(len(table), np.int32)
        _copy([chunk.indices for chunk in ids.chunks], codes)
        scene[start:end] = np.array(numbers, np.int32)[codes]
    if end != count:
        raise pa.ArrowInvalid("not a row a line")
    return Rows(list(names), scene, longitude, latitude, values)


def _copy(chunks: Sequence[Any], column: NDArray[Any]) -> None:
    """Arrow's numbers into an array, NaN for null; Arrow's own way to one imports pandas, which weighs 40 MiB."""
    end = 0
    for chunk in chunks:
        start, end = end, end + len(chunk)
        valid, numbers = chunk.buffers()
        column[start:end] = np.frombuffer(numbers, column.dtype, len(chunk), chunk.offset * column.itemsize)
        if chunk.null_count:
            bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
            column[start:end][bits[chunk.offset : chunk.offset + len(chunk)] == 0] = np.nan


def _rows_of(body: bytes, bands: Sequence[str]) -> tuple[int, int]:
    """Where a body's rows begin and end, without the header, which is looked at here."""
    start, end = b'{"result":[[', b"]]}"
    if not (body.startswith(start) and body.endswith(end)) or b"\\" in body:
        raise pa.ArrowInvalid("not a compact list of rows")
    last = len(body) - len(end)
    newline = body.find(_BETWEEN_ROWS, len(start), last)
    head, asked = body[len(start) : newline if newline >= 0 else last], [*_LEADING, *bands]
    header = orjson.loads(b"[" + head + b"]")
    if header != asked:
        raise BadAnswer(f"getRegion returned the columns {header}; asked was {asked}.")
    return (newline + len(_BETWEEN_ROWS) if newline >= 0 else last), last


def _pieces(body: bytes, start: int, end: int) -> Iterator[bytes]:
    """The rows between two places as lines, so many at a time that a copy takes next to no memory."""
    while start < end:
        cut = body.find(_BETWEEN_ROWS, start + _PIECE, end)
        cut = end if cut < 0 else cut
        yield body[start:cut].replace(_BETWEEN_ROWS, b"\n")
        start = cut + len(_BETWEEN_ROWS)


def _read(lines: bytes, bands: Sequence[str]) -> pa.Table:
    numbers = ["longitude", "latitude", *bands]
    return csv.read_csv(
        pa.py_buffer(lines),
        csv.ReadOptions(use_threads=False, block_size=2 * _PIECE, column_names=[*_LEADING, *bands]),
        csv.ParseOptions(ignore_empty_lines=False),
        csv.ConvertOptions(
            null_values=["null"],
            strings_can_be_null=False,
            include_columns=["id", *numbers],
            column_types={"id": pa.dictionary(pa.int32(), pa.string())} | dict.fromkeys(numbers, pa.float64()),
        ),
        pa.system_memory_pool(),  # its own pool keeps 64 MiB and more
    )
