"""Where each value of getRegion's rows belongs: at its pixel, by its coordinates, or nowhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from eeflow.blocks import Block
from eeflow.errors import BadAnswer
from eeflow.footprint import in_raster, must_cover
from eeflow.grid import Window
from eeflow.region.expression import is_numbered
from eeflow.region.rows import Rows
from eeflow.series import Request, Series

# How far, in pixels, a row's coordinates may be from a pixel's centre before they are of another grid.
MAX_RESIDUAL = 0.01
# Numbers are read as float64, which holds every whole number up to this one and no neighbour rounds to.
_EXACT = 2**53 - 1


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
    if is_numbered(series, request):
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
