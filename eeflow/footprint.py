"""Where an image must have pixels: what a scene's footprint and its own raster both cover beyond doubt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from eeflow.grid import crs_name, parse_crs, pixel_metres
from eeflow.images import Image
from eeflow.scenes import Band, Scene

# A footprint's corners are rounded and its edges are drawn straight or along the Earth's surface; nearer to its rim
# than this many pixels (of the coarser of grid and band) a missing row is no proof that one was lost.
RIM_PIXELS = 3
_PARTS = 32
_METRES_PER_DEGREE = 111_319.49


def must_cover(image: Image, bands: Sequence[str], window: GeoBox, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of a window's pixels some scene of the image certainly has a row for.

    Args:
        image: its scenes, with their footprints and bands.
        bands: the scenes' own bands whose raster extent counts; the first one where none is named.
        window: the window's grid.
        pixels: which pixels are asked about, shape (height, width).

    Returns:
        shape (height, width); False where not asked.
    """
    certain = np.zeros_like(pixels)
    for scene in image.scenes:
        certain |= _scene_covers(scene, _own(scene, bands), window, pixels & ~certain)
    return certain


def _own(scene: Scene, bands: Sequence[str]) -> Band:
    return scene.band(bands[0]) if bands else scene.bands[0]


def _scene_covers(scene: Scene, own: Band, window: GeoBox, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inside = _raster_covers(own, window) & pixels
    if scene.footprint is None or not inside.any():
        return inside
    rows, cols = np.nonzero(inside)
    lon, lat = _lonlat(window, rows, cols)
    pixel = max(pixel_metres(crs_name(window), window.transform), pixel_metres(own.crs, Affine(*own.crs_transform)))
    core = _core(shapely.to_wkb(scene.footprint), RIM_PIXELS * pixel / _METRES_PER_DEGREE)
    inside[rows, cols] = shapely.contains_xy(core, lon, lat)
    return inside


def in_raster(image: Image, bands: Sequence[str], window: GeoBox) -> NDArray[np.bool_]:
    """Which of a window's pixel centres lie in a scene: its own band's raster and its footprint, (height, width)."""
    inside = np.zeros((window.height, window.width), bool)
    for scene in image.scenes:
        if not inside.all():
            inside |= _raster_covers(_own(scene, bands), window) & _in_footprint(scene, window)
    return inside


def _raster_covers(own: Band, window: GeoBox) -> NDArray[np.bool_]:
    if own.shape is None:
        return np.ones((window.height, window.width), bool)
    return _by_rim(window, lambda rows, cols: _within(own, window, rows, cols))


def _in_footprint(scene: Scene, window: GeoBox) -> NDArray[np.bool_]:
    if scene.footprint is None:
        return np.ones((window.height, window.width), bool)
    # A copy: GEOS completes what it prepared as it is used, without a lock, and threads that share it crash.
    outline = shapely.force_2d(scene.footprint)
    shapely.prepare(outline)
    return _by_rim(window, lambda rows, cols: shapely.contains_xy(outline, *_lonlat(window, rows, cols)))


def _by_rim(window: GeoBox, test: Callable[[Any, Any], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Which pixels pass a test of rows and columns; what holds the window's rim, having no holes, holds the window."""
    height, width = window.shape
    inside = np.ones((height, width), bool)
    down, across = np.arange(height), np.arange(width)
    rows = np.concatenate([np.zeros(width, int), np.full(width, height - 1), down, down])
    cols = np.concatenate([across, across, np.zeros(height, int), np.full(height, width - 1)])
    inside[rows, cols] = test(rows, cols)
    if not inside.all():
        within = np.s_[1:-1, 1:-1]
        rows, cols = (index[within] for index in np.indices((height, width)))
        inside[within] = test(rows.ravel(), cols.ravel()).reshape(rows.shape)
    return inside


def _lonlat(window: GeoBox, rows: NDArray[Any], cols: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Longitudes and latitudes of pixels' centres."""
    lon, lat = _transformer(window.crs.to_wkt(), "EPSG:4326").transform(*(window.transform @ (cols + 0.5, rows + 0.5)))
    return np.asarray(lon), np.asarray(lat)


def _within(own: Band, window: GeoBox, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.bool_]:
    u, v = _transformer(window.crs.to_wkt(), own.crs).transform(*(window.transform @ (cols + 0.5, rows + 0.5)))
    col, row = ~Affine(*own.crs_transform) @ (np.asarray(u), np.asarray(v))
    assert own.shape
    height, width = own.shape
    return np.asarray((col >= 0) & (col < width) & (row >= 0) & (row < height))


@lru_cache(maxsize=64)
def _transformer(wkt: str, crs: str) -> pyproj.Transformer:
    """Kept, since the first use of one between datums takes PROJ a tenth of a second."""
    return pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(wkt), parse_crs(crs), always_xy=True)


@lru_cache(maxsize=256)
def _core(footprint_wkb: bytes, rim: float) -> BaseGeometry:
    """The part of a footprint inside both readings of its edges, less a rim in degrees."""
    planar = shapely.from_wkb(footprint_wkb)
    core = planar.intersection(_along_geodesics(planar)).buffer(-rim)
    shapely.prepare(core)
    return core


def _along_geodesics(geometry: BaseGeometry) -> BaseGeometry:
    geod = pyproj.Geod(ellps="WGS84")

    def dense(points: NDArray[np.float64]) -> NDArray[np.float64]:
        out = [points[0]]
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            if abs(x1 - x0) < 90:  # the world's own outline is no geodesic
                out.extend(np.array(geod.npts(x0, y0, x1, y1, _PARTS)).reshape(-1, 2))
            out.append(np.array([x1, y1]))
        return np.array(out)

    polygons = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
    curved = [shapely.Polygon(dense(shapely.get_coordinates(part.exterior))) for part in polygons]
    return shapely.union_all([shapely.make_valid(part) for part in curved])
