"""How getRegion's rows are read: an answer's JSON becomes columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from eeflow.errors import BadAnswer

# Parsed so much at a time: what Arrow holds besides its result grows with it, its speed does not.
_CSV_BLOCK = 1 << 20
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
    table = _table(body, bands)  # the text it was read from is let go before columns are copied
    if table is None:
        none = np.zeros(0)
        return Rows([], none.astype(np.int32), none, none, dict.fromkeys(bands, none))
    ids = table["id"].unify_dictionaries()
    return Rows(
        ids.chunk(0).dictionary.to_pylist(),
        _column([chunk.indices for chunk in ids.chunks], np.int32),
        _column(table["longitude"].chunks, np.float64),
        _column(table["latitude"].chunks, np.float64),
        {name: _column(table[name].chunks, np.float64) for name in bands},
    )


def _column(chunks: Sequence[Any], dtype: type[Any]) -> NDArray[Any]:
    """Arrow's numbers as an array, NaN for null; Arrow's own way to one imports pandas, which weighs 40 MiB."""
    column = np.empty(sum(len(chunk) for chunk in chunks), dtype)
    end = 0
    for chunk in chunks:
        start, end = end, end + len(chunk)
        valid, numbers = chunk.buffers()
        column[start:end] = np.frombuffer(numbers, dtype, len(chunk), chunk.offset * column.itemsize)
        if chunk.null_count:
            bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
            column[start:end][bits[chunk.offset : chunk.offset + len(chunk)] == 0] = np.nan
    return column


def _table(body: bytes, bands: Sequence[str]) -> pa.Table | None:
    """The rows as columns; None where there is the header alone, since no image has any of these pixels."""
    start, end = b'{"result":[[', b"]]}"
    if not (body.startswith(start) and body.endswith(end)) or b"\\" in body:
        raise pa.ArrowInvalid("not a compact list of rows")
    text = body.replace(b"],[", b"\n")
    lines = memoryview(text)[len(start) : -len(end)]
    newline = text.find(b"\n")
    head = text[len(start) : newline] if newline >= 0 else bytes(lines)
    header, asked = orjson.loads(b"[" + head + b"]"), [*_LEADING, *bands]
    if header != asked:
        raise BadAnswer(f"getRegion returned the columns {header}; asked was {asked}.")
    if newline < 0:
        return None
    return csv.read_csv(
        pa.py_buffer(lines),
        csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK),
        csv.ParseOptions(ignore_empty_lines=False),
        csv.ConvertOptions(
            null_values=["null"],
            strings_can_be_null=False,
            include_columns=["id", "longitude", "latitude", *bands],
            column_types={"id": pa.dictionary(pa.int32(), pa.string())}
            | dict.fromkeys(["longitude", "latitude", *bands], pa.float64()),
        ),
        pa.system_memory_pool(),  # its own pool keeps 64 MiB and more
    )
