"""`ImageCollection.getRegion`: pixels of many images as rows.

Facts and their evidence: pixel-major rows; a pixel belongs to an area when its centre is inside; points take the pixel
they lie in; `scale` lays the lattice at the system's (0, 0); images that miss a pixel give no row, masked ones nulls.
Pixel choice is in `eelocal.lattice`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from eelocal.errors import EarthEngineError
from eelocal.evaluation import current
from eelocal.grid import Grid, apply
from eelocal.lattice import Cells, blocks, choose_cells
from eelocal.values.collection import Collection
from eelocal.values.filter import Query
from eelocal.values.geometry import Geometry, meet, on_every_turn, prepared
from eelocal.values.image import Image
from eelocal.values.projection import Projection, transformer

MAX_VALUES = 1_048_576  # ee.ImageCollection.getRegion, API reference
_CHUNK = 16_384  # rows written at once
_LEADING = ("id", "longitude", "latitude", "time")


class RegionTable:
    """The answer: a header and columns, turned into rows only when it is written or read as a list."""

    def __init__(self, bands: Sequence[str], columns: Sequence[list[Any]]) -> None:
        self.header = [*_LEADING, *bands]
        self.columns = columns

    @property
    def size(self) -> int:
        """Number of band values."""
        return len(self.columns[0]) * (len(self.header) - len(_LEADING))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows without the header."""
        return zip(*self.columns, strict=True)

    def __iter__(self) -> Iterator[list[Any]]:
        yield self.header
        yield from (list(row) for row in self.rows())

    def json(self) -> bytes:
        """The list of lists as JSON."""
        rows = self.rows()
        parts = [orjson.dumps(self.header)]
        # In pieces: a million tuples at once would keep the garbage collector busy.
        while chunk := list(itertools.islice(rows, _CHUNK)):
            parts.append(orjson.dumps(chunk)[1:-1])
        return b"[" + b",".join(parts) + b"]"


def get_region(collection: Collection, geometry: Geometry, projection: Projection) -> RegionTable:
    """Rows of all images over the pixels of a geometry.

    Raises:
        EarthEngineError: no bands, different bands, or too many values, in Earth Engine's words.
    """
    area = geometry.lonlat
    images = _touching(collection, area)
    bands = _common_bands(images) if images else _bands_of_first(collection)
    cells = choose_cells(geometry, projection)
    count = cells.count
    if count * len(bands) * len(images) > MAX_VALUES:
        raise EarthEngineError(
            f"Too many values: {count} points x {len(bands)} bands x {len(images)} images > {MAX_VALUES}."
        )
    if not images or not count:
        return RegionTable(bands, [[] for _ in range(len(_LEADING) + len(bands))])
    values, valid, present = _collect(images, bands, cells, projection)
    return _table(images, bands, cells, projection, values, valid, present)


def _touching(collection: Collection, area: BaseGeometry) -> list[Image]:
    # Widened by some 100 m so that a pixel which touches an image is not lost when its centre does not.
    query = Query(region=shapely.box(*shapely.buffer(area.envelope, 1e-3).bounds))
    wide = query.region
    found = []
    for image in collection.elements(query):
        if not isinstance(image, Image):
            raise EarthEngineError("The collection must hold images.")
        if image.footprint is None or meet(image.footprint, wide):
            found.append(image)
    return found


def _bands_of_first(collection: Collection) -> list[str]:
    first = next(iter(collection.elements()), None)
    if first is None or not first.bands:
        raise EarthEngineError("No bands in collection.")
    return list(first.names)


def _common_bands(images: Sequence[Image]) -> list[str]:
    names = images[0].names
    if not names:
        raise EarthEngineError("No bands in collection.")
    for image in images[1:]:
        if image.names != names:
            raise EarthEngineError(
                "Expected a homogeneous image collection, but an image with incompatible bands was encountered.\n"
                f"First image type: {len(names)} bands ({names}).\n"
                f"Current image type: {len(image.names)} bands ({image.names})."
            )
    return names


def _collect(
    images: Sequence[Image], bands: Sequence[str], cells: Cells, projection: Projection
) -> tuple[list[NDArray[Any]], NDArray[np.bool_], NDArray[np.bool_]]:
    """Values per band of shape (pixel, image); validity of shape (band, pixel, image); presence (pixel, image)."""
    shape = (cells.count, len(images))
    dtypes = [np.result_type(*(image.bands[b].type.dtype for image in images)) for b in range(len(bands))]
    values: list[NDArray[Any]] = [np.zeros(shape, dtype) for dtype in dtypes]
    valid = np.zeros((len(bands), *shape), bool)
    present = np.zeros(shape, bool)
    for block in blocks(cells, projection):
        for i, image in enumerate(images):
            here = present_in(image.footprint, block.grid)[block.rows, block.cols]
            present[block.index, i] = here
            if not here.any():
                continue
            for b, band in enumerate(image.bands):
                pixels = band.pixels(block.grid)
                values[b][block.index, i] = pixels.values[block.rows, block.cols]
                valid[b, block.index, i] = pixels.valid[block.rows, block.cols]
    return values, valid, present


def present_in(outline: BaseGeometry | None, grid: Grid) -> NDArray[np.bool_]:
    """Which pixels of a grid a footprint touches; None touches all."""
    if outline is None:
        return np.ones(grid.shape, bool)
    frame = frame_of(grid)
    outline = on_every_turn(outline, frame)
    if outline.contains(frame):
        return np.ones(grid.shape, bool)
    if not outline.intersects(frame):
        return np.zeros(grid.shape, bool)
    outline = prepared(outline)
    touched: NDArray[np.bool_] = shapely.contains_xy(outline, *_centres(grid))
    rest = np.flatnonzero(~touched)
    touched.reshape(-1)[rest] = shapely.intersects(outline, _pixel_shapes(grid, rest))
    return touched


def frame_of(grid: Grid) -> BaseGeometry:
    """The rectangle of longitudes and latitudes around a grid."""

    def make() -> BaseGeometry:
        x, y = _degrees(grid.crs, *grid.corners())
        return shapely.box(x.min(), y.min(), x.max(), y.max())

    return current().remember(("frame", grid), make, lambda _: 200)


def _centres(grid: Grid) -> tuple[Any, Any]:
    def make() -> tuple[Any, Any]:
        x, y = _degrees(grid.crs, *grid.centres())
        return np.ascontiguousarray(x), np.ascontiguousarray(y)

    return current().remember(("centres", grid), make, lambda found: 2 * int(found[0].nbytes))


def _pixel_shapes(grid: Grid, wanted: NDArray[np.int64]) -> NDArray[Any]:
    """The outlines of some pixels, by their numbers row by row."""
    rows, cols = np.divmod(wanted, grid.width)
    u = np.stack([cols, cols + 1, cols + 1, cols], axis=-1).astype(np.float64)
    v = np.stack([rows, rows, rows + 1, rows + 1], axis=-1).astype(np.float64)
    x, y = _degrees(grid.crs, *apply(grid.transform, u, v))
    shapes: NDArray[Any] = shapely.polygons(np.stack([x, y], axis=-1))
    return shapes


def _degrees(crs: str, x: Any, y: Any) -> tuple[Any, Any]:
    if crs == "EPSG:4326":
        return x, y
    lon, lat = transformer(crs, "EPSG:4326").transform(x, y)
    return lon, lat


def _table(
    images: Sequence[Image],
    bands: Sequence[str],
    cells: Cells,
    projection: Projection,
    values: Sequence[NDArray[Any]],
    valid: NDArray[np.bool_],
    present: NDArray[np.bool_],
) -> RegionTable:
    pixel, image = np.nonzero(present)
    x, y = apply(projection.transform, cells.cols + 0.5, cells.rows + 0.5)
    lon, lat = _degrees(projection.crs, x, y)
    lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)  # beyond the antimeridian
    ids = np.array([item.index for item in images], object)
    times = np.array([_time(item) for item in images], object)
    leading = [ids[image].tolist(), _numbers(lon[pixel]), _numbers(lat[pixel]), times[image].tolist()]
    columns = [_numbers(v[pixel, image], valid[b, pixel, image]) for b, v in enumerate(values)]
    return RegionTable(bands, [*leading, *columns])


def _time(image: Image) -> int | None:
    value = image.get("system:time_start")
    return int(value) if isinstance(value, (int, float)) else None


def _numbers(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> list[Any]:
    """Numbers as JSON has them: whole ones without a fraction, float32 as its exact double, masked as None."""
    if valid is not None and not valid.all():
        numbers = np.full(values.shape, None, object)
        numbers[valid] = _numbers(values[valid])
        masked: list[Any] = numbers.tolist()
        return masked
    if values.dtype == object:
        return [array.tolist() for array in values]
    if values.dtype.kind != "f":
        integers: list[Any] = values.tolist()
        return integers
    doubles = values.astype(np.float64)
    whole = (doubles == np.floor(doubles)) & (np.abs(doubles) < 2**53)
    if not whole.any():
        floats: list[Any] = doubles.tolist()
        return floats
    mixed = doubles.astype(object)
    mixed[whole] = doubles[whole].astype(np.int64).astype(object)
    result: list[Any] = mixed.tolist()
    return result
