"""Where a scene must have pixels: what its footprint and its own raster both cover beyond doubt."""

from __future__ import annotations

import itertools
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
from eeflow.scenes import Scene

# A footprint's corners are rounded and its edges are drawn straight or along the Earth's surface; nearer to its rim
# than this many pixels (of the coarser of grid and band) a missing row is no proof that one was lost.
RIM_PIXELS = 3
_PARTS = 32
_METRES_PER_DEGREE = 111_319.49


def must_cover(scene: Scene, band: str, x: NDArray[Any], y: NDArray[Any], grid: GeoBox) -> NDArray[np.bool_]:
    """Which of the points (pixel centres in the grid's CRS) the scene certainly has a row for.

    Args:
        scene: with its footprint and bands.
        band: the band whose raster extent counts.
        x: x of each point.
        y: y of each point.
        grid: the grid the points are of.
    """
    inside = _in_raster(scene, band, x, y, grid)
    if scene.footprint is None or not inside.any():
        return inside
    to_lonlat = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(x, y)
    own = scene.band(band)
    pixel = max(pixel_metres(crs_name(grid), grid.transform), pixel_metres(own.crs, Affine(*own.crs_transform)))
    core = _core(shapely.to_wkb(scene.footprint), RIM_PIXELS * pixel / _METRES_PER_DEGREE)
    return np.asarray(inside & shapely.contains_xy(core, lon, lat))


def _in_raster(scene: Scene, band: str, x: NDArray[Any], y: NDArray[Any], grid: GeoBox) -> NDArray[np.bool_]:
    own = scene.band(band)
    if own.shape is None:
        return np.ones(x.shape, bool)
    to_band = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()), parse_crs(own.crs), always_xy=True)
    u, v = to_band.transform(x, y)
    col, row = ~Affine(*own.crs_transform) * (np.asarray(u), np.asarray(v))
    height, width = own.shape
    return np.asarray((col >= 0) & (col < width) & (row >= 0) & (row < height))


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
