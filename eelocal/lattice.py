"""Which pixels of a lattice a geometry takes, in which order, and how to read them in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.evaluation import current
from eelocal.grid import Grid, to_pixels
from eelocal.values.geometry import Geometry, point_coordinates, prepared
from eelocal.values.projection import Projection

Ints = NDArray[np.int64]
_CHUNK = 2**20  # centres tested at once
_MAX_LISTED = 10_500_000  # pixels, some more than the default maxPixels; more are counted by area and not listed
_MAX_RASTER = 2**28  # pixels of the rectangle around a line
_MAX_BOX = 2**30  # pixels of the rectangle around an area
_BATCH = 256  # pixels at an edge that are cut at once
_BLOCK = 64  # side of the blocks scattered pixels are read in
_SPARSE = 4  # a rectangle with more than this many times the pixels wanted is read in blocks
_POINT_KINDS, _LINE_KINDS, _AREA_KINDS = (0,), (1, 2), (3,)  # shapely's type ids after taking multi-parts apart


@dataclass(frozen=True)
class Cells:
    """Pixels by column and row, in the order they are answered.

    `estimate` is a count without the pixels, for regions far beyond any limit.
    """

    cols: Ints
    rows: Ints
    estimate: int | None = None

    @property
    def count(self) -> int:
        """Number of pixels."""
        return int(self.cols.size) if self.estimate is None else self.estimate


@dataclass(frozen=True)
class Block:
    """A rectangle of the lattice and the wanted pixels in it.

    Attributes:
        grid: the rectangle.
        index: positions of its pixels among all cells.
        cols: their columns in the rectangle.
        rows: their rows in the rectangle.
    """

    grid: Grid
    index: Ints
    cols: Ints
    rows: Ints


def choose_cells(geometry: Geometry, projection: Projection) -> Cells:
    """Pixels of a geometry: by centre for areas, by containment for points, by touch for lines.

    Areas and close grids of points come in raster order, row by row; scattered points in a fixed order which is
    neither that of the input nor sorted, as recorded.
    """
    if geometry.unbounded:
        raise EarthEngineError("Unable to use an unbounded geometry: give a region with an end.")
    shape = geometry.in_crs(projection.crs)
    parts = shapely.get_parts(shapely.get_parts(shape))
    kinds = shapely.get_type_id(parts)
    areas = _in_pixels(parts[np.isin(kinds, _AREA_KINDS)], projection)
    estimate = _estimate(areas)
    if estimate is not None:
        return Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), estimate)
    lines = _in_pixels(parts[np.isin(kinds, _LINE_KINDS)], projection)
    found = [_by_point(shape, projection), _by_centre(areas), _by_touch(lines)]
    cols, rows = (np.concatenate([pair[axis] for pair in found]) for axis in (0, 1))
    cols, rows = _unique(cols, rows)  # raster order
    scattered = not len(areas) and not len(lines) and not _dense(cols, rows)
    if not scattered:
        return Cells(cols, rows)
    order = _shuffled(cols, rows)
    return Cells(cols[order], rows[order])


def centres_inside(region: Geometry, grid: Grid) -> NDArray[np.bool_]:
    """Which pixels of a grid have their centre in a region; for points and lines, which touch it."""
    shape = region.in_crs(grid.crs)
    left, bottom, right, top = shape.bounds if not shape.is_empty else (1.0, 1.0, 0.0, 0.0)
    x, y = grid.centres()
    if left <= x.min() and x.max() <= right and bottom <= y.min() and y.max() <= top and _is_box(shape):
        return np.ones(grid.shape, bool)
    if shape.area > 0:
        inside: NDArray[np.bool_] = shapely.intersects_xy(prepared(shape), x, y)
        return inside
    cells = choose_cells(region, grid.projection)
    wanted = (cells.cols >= 0) & (cells.cols < grid.width) & (cells.rows >= 0) & (cells.rows < grid.height)
    touched = np.zeros(grid.shape, bool)
    touched[cells.rows[wanted], cells.cols[wanted]] = True
    return touched


def _is_box(shape: BaseGeometry) -> bool:
    return bool(shape.area > 0 and shape.area >= shape.envelope.area * (1 - 1e-12))


def covered_cells(geometry: Geometry, projection: Projection) -> tuple[Cells, NDArray[np.float64]]:
    """Pixels an area touches in raster order, and the part of each that is inside; points and lines count fully."""
    chosen = choose_cells(geometry, projection)
    parts = shapely.get_parts(shapely.get_parts(geometry.in_crs(projection.crs)))
    areas = _in_pixels(parts[np.isin(shapely.get_type_id(parts), _AREA_KINDS)], projection)
    if chosen.estimate is not None or not len(areas):
        return chosen, np.ones(chosen.cols.size)
    cols, rows = _by_touch(shapely.boundary(areas))
    cols, rows = _unique(cols, rows)
    part = _parts_inside(cols, rows, shapely.union_all(areas))
    inner, edge = _keys((chosen.cols, chosen.rows), (cols, rows))
    at = np.minimum(np.searchsorted(edge, inner), max(edge.size - 1, 0))
    whole = edge[at] != inner if edge.size else np.ones(inner.size, bool)
    some = part > 0
    place = np.searchsorted(inner[whole], edge[some])  # both are in raster order
    merged = [np.insert(a[whole], place, b[some]) for a, b in ((chosen.cols, cols), (chosen.rows, rows))]
    return Cells(merged[0], merged[1]), np.insert(np.ones(int(whole.sum())), place, part[some])


def _parts_inside(cols: Ints, rows: Ints, area: BaseGeometry) -> NDArray[np.float64]:
    """The part of each pixel that is inside an area; pixels by row, so that each batch meets little of the area."""
    parts = []
    for start in range(0, cols.size, _BATCH):
        current().check_time()
        c, r = cols[start : start + _BATCH], rows[start : start + _BATCH]
        near = shapely.clip_by_rect(area, int(c.min()), int(r.min()), int(c.max()) + 1, int(r.max()) + 1)
        parts.append(shapely.area(shapely.intersection(shapely.box(c, r, c + 1, r + 1), near)))
    found = np.concatenate(parts) if parts else np.zeros(0)
    # A pixel whose edge lies on the area's, but for the last bit, is inside or outside.
    return np.where(np.abs(found - np.rint(found)) < 1e-9, np.rint(found), found)


def blocks(cells: Cells, projection: Projection) -> Iterator[Block]:
    """Rectangles which together hold all cells, without much that nobody wants."""
    if cells.estimate is not None:  # counted, never listed: what is not there cannot be read as masked
        raise OutOfMemory
    everything = np.arange(cells.cols.size)
    if _dense(cells.cols, cells.rows) or cells.cols.size * _SPARSE > _box_size(cells.cols, cells.rows):
        # Cells in raster order are cut into strips, so that no more than a few are in memory at once.
        pieces = np.array_split(everything, max(1, -(-everything.size // _CHUNK)))
        yield from (_block(cells, piece, projection) for piece in pieces if piece.size)
        return
    key = (cells.rows // _BLOCK) * 2**32 + cells.cols // _BLOCK
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order])) + 1
    for part in np.split(order, starts):
        yield _block(cells, part, projection)


def _block(cells: Cells, index: Ints, projection: Projection) -> Block:
    cols, rows = cells.cols[index], cells.rows[index]
    c0, r0 = int(cols.min()), int(rows.min())
    lattice = Grid(projection.crs, projection.transform, 1, 1)
    grid = lattice.window(c0, r0, int(cols.max()) - c0 + 1, int(rows.max()) - r0 + 1)
    return Block(grid, index, cols - c0, rows - r0)


def _in_pixels(parts: NDArray[Any], projection: Projection) -> NDArray[Any]:
    """Shapes with coordinates in columns and rows."""

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(to_pixels(projection.transform, xy[:, 0], xy[:, 1]))

    moved: NDArray[Any] = shapely.transform(parts, move)
    return moved


def _by_point(shape: BaseGeometry, projection: Projection) -> tuple[Ints, Ints]:
    points = point_coordinates(shape)
    cols, rows = to_pixels(projection.transform, points[:, 0], points[:, 1])
    return np.floor(cols).astype(np.int64), np.floor(rows).astype(np.int64)


def _by_centre(areas: NDArray[Any]) -> tuple[Ints, Ints]:
    found: list[tuple[Ints, Ints]] = [_none()]
    for area in map(prepared, areas):
        left, top, right, bottom = _bounds(area)
        step = max(1, _CHUNK // max(1, right - left))
        for row in range(top, bottom, step):
            current().check_time()
            found.append(_inside(area, row, min(step, bottom - row)))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _inside(area: BaseGeometry, row: int, height: int) -> tuple[Ints, Ints]:
    """Pixels of some rows whose centre is in an area."""
    near = shapely.clip_by_rect(area, area.bounds[0], row, area.bounds[2], row + height)
    if near.is_empty:
        return _none()
    left, top, right, bottom = _bounds(near)
    rows, cols = np.mgrid[top:bottom, left:right]
    if _is_box(near):  # its centres lie in it, but for those beyond its edges
        box = near.bounds
        inside = (cols + 0.5 >= box[0]) & (cols + 0.5 <= box[2]) & (rows + 0.5 >= box[1]) & (rows + 0.5 <= box[3])
    else:
        inside = shapely.intersects_xy(area, cols + 0.5, rows + 0.5)
    return cols[inside], rows[inside]


def _by_touch(lines: NDArray[Any]) -> tuple[Ints, Ints]:
    found: list[tuple[Ints, Ints]] = [_none()]
    for line in lines:
        left, top, right, bottom = _bounds(line)
        shape = (bottom - top + 1, right - left + 1)
        if shape[0] * shape[1] > _MAX_RASTER:
            raise OutOfMemory
        moved = shapely.transform(line, lambda xy, at=(left, top): xy - np.array(at))
        rows, cols = np.nonzero(rasterize([moved], shape, all_touched=True))
        found.append((cols + left, rows + top))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _estimate(areas: NDArray[Any]) -> int | None:
    """About how many pixels, if they are too many to test one by one."""
    boxes = [_bounds(area) for area in areas]
    tested = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    size = float(shapely.area(areas).sum())
    return round(size) if size > _MAX_LISTED or tested > _MAX_BOX else None


def _bounds(shape: BaseGeometry) -> tuple[int, int, int, int]:
    """First column and row, and the ones after the last."""
    left, top, right, bottom = shape.bounds
    return int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom))


def _none() -> tuple[Ints, Ints]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _unique(cols: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Pairs without repetitions, by row and column."""
    if not cols.size:
        return cols, rows
    (key,) = _keys((cols, rows))
    if (np.diff(key) > 0).all():
        return cols, rows
    _, first = np.unique(key, return_index=True)
    return cols[first], rows[first]


def _keys(*pairs: tuple[Ints, Ints]) -> list[Ints]:
    """A number for each pair of column and row, in raster order."""
    left = min(int(cols.min(initial=0)) for cols, _ in pairs)
    width = max(int(cols.max(initial=0)) for cols, _ in pairs) - left + 1
    top = min(int(rows.min(initial=0)) for _, rows in pairs)
    return [(rows - top) * width + (cols - left) for cols, rows in pairs]  # fits: ranges are below 2**31


def _dense(cols: Ints, rows: Ints) -> bool:
    """Whether pixels fill at least half of their bounding rectangle."""
    return 2 * cols.size >= _box_size(cols, rows)


def _box_size(cols: Ints, rows: Ints) -> int:
    if not cols.size:
        return 0
    return int(np.ptp(cols) + 1) * int(np.ptp(rows) + 1)


def _shuffled(cols: Ints, rows: Ints) -> Ints:
    """An order that depends on nothing but the pixels: by a hash of column and row (splitmix64's multipliers)."""
    mixed = cols.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ rows.astype(np.uint64) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    order: Ints = np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
    return order
