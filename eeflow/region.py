"""ImageCollection.getRegion: what is asked, how its rows are read, and where each value belongs.

All rules about getRegion are here. What it really does, from its documentation
(https://developers.google.com/earth-engine/apidocs/ee-imagecollection-getregion) and recorded answers:

- A row is `[id, longitude, latitude, time, band...]`; the coordinates are degrees of the pixel's *centre*.
- A pixel is taken when its centre lies in the region. `scale` puts pixel edges on multiples of the scale, not on the
  image's own; only `crs` with `crsTransform` gives native pixels.
- Rows come pixel by pixel in no order to rely on, so each value is placed by its coordinates, never by position.
- A masked band is null. A pixel masked in all bands has a row all the same; an image that misses the pixel has none.

So rows are made short where the series says so: images go by their number in the request instead of their id, all at
time 0, and bands are packed (`eeflow.packing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import ee
import numpy as np
import orjson
import pyarrow as pa
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyarrow import csv

from eeflow.blocks import Block
from eeflow.errors import BadAnswer
from eeflow.footprint import in_raster, must_cover
from eeflow.grid import Window, crs_name
from eeflow.packing import Column, columns_of, names_of, packed, unpacked
from eeflow.series import Request, Series, TransportName
from eeflow.session import Session

# An answer holds at most this many values, counted as points x bands x images.
MAX_VALUES = 1_048_576
# Rows are what an answer weighs (about 95 bytes of JSON each, whatever the number of bands) and what its decoding
# costs in memory; an answer is refused above 100 MiB: https://developers.google.com/earth-engine/guides/usage
MAX_ROWS = 300_000
# Short rows are about 64 bytes each with four bands, and take five sixths of the memory.
MAX_SHORT_ROWS = 360_000
_BYTES_PER_ROW, _BYTES_PER_VALUE = 88, 7
_BYTES_PER_SHORT_ROW, _BYTES_PER_SHORT_VALUE = 44, 5
# Images that are named one by one in a request, whose expression may weigh 10 MiB; more are found by a search.
_MOST_LISTED = 1_000
# The rectangle's edges lie this far inside the window's, in pixels: a rounding error then takes in no further row, and
# every centre stays half a pixel inside.
INSET = 1e-3
# How far, in pixels, a row's coordinates may be from a pixel's centre before they are of another grid.
MAX_RESIDUAL = 0.01
# Numbers are read as float64, which holds every whole number up to this one and no neighbour rounds to.
_EXACT = 2**53 - 1
# Parsed so much at a time: what Arrow holds besides its result grows with it, its speed does not.
_CSV_BLOCK = 1 << 20
_LEADING = ["id", "longitude", "latitude", "time"]


class GetRegion:
    """The transport: all scenes of a window in one request, exact nulls, JSON. Best for fields and long series."""

    name: TransportName = "get_region"
    # Arrow parses about a million rows a second, and placing them takes as long again.
    seconds_per_byte = 2e-8

    def budget(self, series: Series, bands: Sequence[str]) -> int:
        """Pixels, over all its scenes, that one request for some bands may ask for."""
        rows = MAX_SHORT_ROWS if series.packing else MAX_ROWS
        return min(rows, MAX_VALUES // len(_columns(series, bands)))

    def most_scenes(self, series: Series, bands: Sequence[str]) -> int:
        """Scenes that one request may hold, however few their pixels."""
        return self.budget(series, bands)

    def answer_bytes(self, series: Series, bands: Sequence[str], pixels: int) -> int:
        """Estimated size of the answer for so many pixels, before compression."""
        if series.packing:
            return pixels * (_BYTES_PER_SHORT_ROW + _BYTES_PER_SHORT_VALUE * len(bands))
        return pixels * (_BYTES_PER_ROW + _BYTES_PER_VALUE * len(bands))

    def ask(self, session: Session, series: Series, request: Request) -> bytes:
        """Sends a request. Errors as in `Session.compute`."""
        return session.compute(region_expression(series, request))

    def read(self, body: bytes, series: Series, request: Request) -> dict[str, Block]:
        """The blocks in an answer, one a scene. Raises BadAnswer."""
        if not series.packing:
            return place(series, request, decode(body, request.bands))
        columns = _columns(series, request.bands)
        rows = decode(body, names_of(columns))
        return place(series, request, replace(rows, values=unpacked(columns, rows.values)))


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


def region_expression(series: Series, request: Request) -> ee.ComputedObject:
    """The getRegion call for a request, on the series' own grid."""
    crs = ee.Projection(crs_name(series.grid))
    window = request.window.of(series.grid)
    geometry = _points(window, crs) if series.region == "points" else _rectangle(window, crs)
    images = _images(series, request)
    if series.packing:
        columns = _columns(series, request.bands)
        images = images.map(lambda image: packed(ee.Image(image), columns))
    return images.getRegion(geometry, crs=crs, crsTransform=list(series.grid.transform)[:6])


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


def place(series: Series, request: Request, rows: Rows) -> dict[str, Block]:
    """Each value at its pixel, by its coordinates; one block a scene.

    Raises:
        BadAnswer: a row of another scene, off a pixel's centre, outside the window, twice, or with a value its band
            cannot hold; or a pixel missing where the scene has data.
    """
    window = request.window
    row, col = _pixels(window.of(series.grid), rows)
    scene = _scene_numbers(series, request, rows)
    _check_once(request, scene, row, col)
    shape = (len(request.image_ids), window.height, window.width)
    seen = np.zeros(shape, bool)
    seen[scene, row, col] = True
    stacks = {name: _stack(series, name, column, shape, (scene, row, col)) for name, column in rows.values.items()}
    blocks = {}
    for number, image_id in enumerate(request.image_ids):
        _check_complete(series, image_id, window, seen[number])
        valid = {name: valid[number] for name, (_, valid) in stacks.items()}
        # Pixels that a footprint only touches have rows, and a merged image has some beyond its scenes: all null.
        covered = in_raster(series.image(image_id), series.recipe.inputs(request.bands[0]), window.of(series.grid))
        seen[number] &= covered | np.logical_or.reduce(list(valid.values()))
        blocks[image_id] = Block({name: values[number] for name, (values, _) in stacks.items()}, valid, seen[number])
    return blocks


def _images(series: Series, request: Request) -> ee.ImageCollection:
    if series.is_image:
        image = series.image(request.image_ids[0])
        return ee.ImageCollection.fromImages([series.recipe.single(series.source, image, request.bands)])
    if _is_numbered(series, request):
        made = [
            series.recipe.image(series.source, series.image(image_id), request.bands).set("system:index", str(number))
            for number, image_id in enumerate(request.image_ids)
        ]
        return ee.ImageCollection.fromImages(made)
    collection = ee.ImageCollection(series.source)
    times = [series.image(image_id).time_start for image_id in request.image_ids]
    known = [time for time in times if time is not None]
    if len(known) == len(times):  # narrows the search; the ids below decide
        start, end = min(known), max(known) + timedelta(seconds=1)
        collection = collection.filterDate(f"{start:%Y-%m-%dT%H:%M:%S}", f"{end:%Y-%m-%dT%H:%M:%S}")
    chosen = collection.filter(ee.Filter.inList("system:index", list(request.image_ids)))
    return chosen.select(list(request.bands))


def _is_numbered(series: Series, request: Request) -> bool:
    """Whether images go by their number in the request: those that are made, and others to shorten their rows."""
    return not series.recipe.is_plain or (series.packing and len(request.image_ids) <= _MOST_LISTED)


def _columns(series: Series, bands: Sequence[str]) -> tuple[Column, ...]:
    types = [series.band(name) for name in bands]
    return columns_of(types) if series.packing else tuple((band,) for band in types)


def _rectangle(window: GeoBox, crs: ee.Projection) -> ee.Geometry:
    """As a polygon, the form in which the client sends all rectangles that have no CRS of their own."""
    height, width = window.shape
    left, top = window.transform @ (INSET, INSET)
    right, bottom = window.transform @ (width - INSET, height - INSET)
    return ee.Geometry.Polygon([[[left, top], [left, bottom], [right, bottom], [right, top]]], crs, False)


def _points(window: GeoBox, crs: ee.Projection) -> ee.Geometry:
    """A point at each pixel's centre, laid out by Earth Engine itself: the original method, its points moved home."""
    height, width = window.shape
    x, y = window.transform @ (0.5, 0.5)
    xs = ee.List.sequence(x, None, window.transform.a, width)
    ys = ee.List.sequence(y, None, window.transform.e, height)

    def point_row(northing: Any) -> ee.FeatureCollection:
        return ee.FeatureCollection(xs.map(lambda easting: ee.Feature(ee.Geometry.Point([easting, northing], crs))))

    return ee.FeatureCollection(ys.map(point_row)).flatten().geometry()


def _pixels(window: GeoBox, rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column in the window of each row's pixel."""
    heads = _first_of_pixel(rows)
    x, y = _from_lonlat(window.crs.to_wkt()).transform(rows.longitude[heads], rows.latitude[heads])
    cols, lines = ~window.transform @ (np.asarray(x), np.asarray(y))
    repeats = np.diff(np.append(heads, len(rows.longitude)))
    cols, lines = np.repeat(cols, repeats), np.repeat(lines, repeats)
    col, row = np.floor(cols), np.floor(lines)
    residual = np.maximum(np.abs(cols - col - 0.5), np.abs(lines - row - 0.5))
    off = ~(residual <= MAX_RESIDUAL)  # also true for NaN and infinity
    if off.any():
        first = int(np.argmax(off))
        raise BadAnswer(
            f"getRegion returned longitude {rows.longitude[first]}, latitude {rows.latitude[first]}, which is "
            f"{residual[first]:.3f} pixels from the nearest pixel centre of the grid; at most {MAX_RESIDUAL} "
            "is allowed."
        )
    height, width = window.shape
    outside = (row < 0) | (row >= height) | (col < 0) | (col >= width)
    if outside.any():
        first = int(np.argmax(outside))
        raise BadAnswer(
            f"getRegion returned longitude {rows.longitude[first]}, latitude {rows.latitude[first]}, which is row "
            f"{row[first]:.0f}, column {col[first]:.0f}, outside the {height} x {width} window that was asked for."
        )
    return row.astype(np.intp), col.astype(np.intp)


def _first_of_pixel(rows: Rows) -> NDArray[np.intp]:
    """Rows whose coordinates differ from the row before's.

    The images of one pixel mostly follow each other, and so their common coordinates are projected once.
    """
    lon, lat = rows.longitude, rows.latitude
    changed = np.ones(len(lon), bool)
    changed[1:] = (lon[1:] != lon[:-1]) | (lat[1:] != lat[:-1])
    return np.flatnonzero(changed)


@lru_cache(maxsize=64)
def _from_lonlat(wkt: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("EPSG:4326", pyproj.CRS.from_wkt(wkt), always_xy=True)


def _scene_numbers(series: Series, request: Request, rows: Rows) -> NDArray[np.intp]:
    if series.is_image:  # what getRegion calls an image that is in no collection is not documented
        return np.zeros(len(rows.scene), np.intp)
    numbers = {image_id: number for number, image_id in enumerate(request.image_ids)}
    if _is_numbered(series, request):
        numbers |= {str(number): number for number in numbers.values()}
    try:
        return np.array([numbers[name] for name in rows.names], np.intp)[rows.scene]
    except KeyError as error:
        raise BadAnswer(f"getRegion returned scene {error.args[0]!r}, which was not asked for.") from None


def _check_once(request: Request, scene: NDArray[np.intp], row: NDArray[np.intp], col: NDArray[np.intp]) -> None:
    window = request.window
    index = (scene * window.height + row) * window.width + col
    counts = np.bincount(index, minlength=request.rows)
    if counts.size and counts.max() > 1:
        number, pixel = divmod(int(counts.argmax()), window.size)
        line, column = divmod(pixel, window.width)
        raise BadAnswer(
            f"getRegion returned row {line}, column {column} of scene {request.image_ids[number]} "
            f"{counts.max()} times; each pixel may come once."
        )


def _stack(
    series: Series, name: str, column: NDArray[np.float64], shape: tuple[int, int, int], where: tuple[Any, Any, Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values in the band's dtype and validity, both of `shape`, from one column of the answer."""
    dtype = np.dtype(series.band(name).dtype)
    present = ~np.isnan(column)
    numbers = np.where(present, column, 0)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = max(info.min, -_EXACT), min(info.max, _EXACT)
        wrong = (numbers != np.rint(numbers)) | (numbers < low) | (numbers > high)
        if wrong.any():
            value = numbers[int(np.argmax(wrong))]
            raise BadAnswer(f"Band {name} is {dtype}, but getRegion returned {value}, which it cannot hold.")
    values, valid = np.zeros(shape, dtype), np.zeros(shape, bool)
    values[where] = numbers.astype(dtype)
    valid[where] = present
    return values, valid


def _check_complete(series: Series, image_id: str, window: Window, seen: NDArray[np.bool_]) -> None:
    """A pixel may lack its row only where the scene has no data."""
    if seen.all():
        return
    own = series.recipe.inputs(series.bands[0].name)
    missing = must_cover(series.image(image_id), own, window.of(series.grid), ~seen)
    if missing.any():
        row, column = divmod(int(np.argmax(missing)), window.width)
        raise BadAnswer(
            f"Scene {image_id} returned {int(seen.sum()):,} of {seen.size:,} pixels of the {window.width} x "
            f"{window.height} window, though its footprint covers {int(missing.sum()):,} of the others; the first "
            f"missing is row {row}, column {column}. No file was written."
        )
