"""Heights and land cover: `USGS/SRTMGL1_003`, `NASA/NASADEM_HGT/001`, `COPERNICUS/DEM/GLO30`, `ESA/WorldCover/v200`.

SRTM's and NASADEM's grid is the one Earth Engine gives; GLO-30 comes in tiles of a degree whose columns widen towards
the poles (Copernicus DEM Product Handbook, 2022); WorldCover is one image of 1/12000 degree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from eelocal.assets import StoredImage
from eelocal.world.global_images import GlobalBand, GlobalImage, Maker
from eelocal.world.globe import LONLAT, GlobalGrid
from eelocal.world.materials import IS_WATER
from eelocal.world.surface import ground_of
from eelocal.world.terrain import land_height, sea_depth
from eelocal.world.window import Window

_SECOND = 1 / 3600
_COARSE = 1500.0  # metres per pixel
SRTM_GRID = GlobalGrid(
    LONLAT,
    (0.0002777777777777778, 0, -180.0001388888889, 0, -0.0002777777777777778, 60.00013888888889),
    1_296_001,
    417_601,
)
WORLDCOVER_GRID = GlobalGrid(LONLAT, (1 / 12000, 0, -180, 0, -1 / 12000, 84), 4_320_000, 1_728_000)
_SRTM_EXTENT = (-180.0, -56.0, 180.0, 60.0)
_GLO30_TIME_MS = 1_638_316_800_000  # 2021-12-01
_WORLDCOVER_MS = (1_609_459_200_000, 1_640_995_200_000)  # 2021


def _from_window(values: Callable[[Window], NDArray[Any]], finest: float) -> Maker:
    def make(grid: GlobalGrid, rows: slice, columns: slice, time_ms: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        resolution = finest * max(1, round(grid.spacing / finest))
        made = grid.sample(rows, columns, resolution, values)
        return made, np.ones(made.shape, np.bool_)

    return make


def _height(window: Window) -> NDArray[Any]:
    return ground_of(window).height


def _water(window: Window) -> NDArray[Any]:
    return np.asarray(IS_WATER.take(ground_of(window).material), np.uint8)


def _classes(window: Window) -> NDArray[Any]:
    return ground_of(window).worldcover


def _constant(value: int) -> Callable[[Window], NDArray[Any]]:
    return lambda window: np.full((window.height, window.width), value, np.uint8)


def _elevation(grid: GlobalGrid, rows: slice, columns: slice, time_ms: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Heights; where pixels are kilometres wide, without valleys."""
    if grid.spacing < _COARSE:
        return _from_window(_height, 30.0)(grid, rows, columns, time_ms)
    nodes = grid.places(rows, columns).nodes
    made = np.where(sea_depth(nodes) > 0, 0, np.maximum(land_height(nodes), 0))
    return made, np.ones(made.shape, np.bool_)


def _band(name: str, kind: str, values: Callable[[Window], NDArray[Any]], pyramiding: str = "MEAN") -> GlobalBand:
    return GlobalBand(name, np.dtype(kind), _from_window(values, 30.0), pyramiding)


SRTM = GlobalImage(
    "USGS/SRTMGL1_003",
    1_641_990_767_055_141,
    SRTM_GRID,
    (GlobalBand("elevation", np.dtype("int16"), _elevation),),
    950_227_200_000,
    _SRTM_EXTENT,
    {"system:time_start": 950_227_200_000, "system:time_end": 951_177_600_000, "title": "SRTM 1 arc-second"},
)
NASADEM = GlobalImage(
    "NASA/NASADEM_HGT/001",
    1_582_831_521_000_000,
    SRTM_GRID,
    (
        GlobalBand("elevation", np.dtype("int16"), _elevation),
        _band("num", "uint8", _constant(3), "SAMPLE"),
        _band("swb", "uint8", lambda window: _water(window) * np.uint8(255), "SAMPLE"),
    ),
    950_227_200_000,
    _SRTM_EXTENT,
    {"system:time_start": 950_227_200_000, "system:time_end": 951_177_600_000, "title": "NASADEM"},
)
SRTM_90 = GlobalImage(
    "CGIAR/SRTM90_V4",
    1_463_778_555_689_000,
    GlobalGrid(LONLAT, (0.000833333333333, 0, -180, 0, -0.000833333333333, 60), 432_000, 144_000),
    (GlobalBand("elevation", np.dtype("int16"), _elevation),),
    950_227_200_000,
    (-180.0, -60.0, 180.0, 60.0),
    {"system:time_start": 950_227_200_000, "system:time_end": 951_177_600_000, "title": "SRTM 90 m, version 4"},
)
_GLO30_BANDS = (
    GlobalBand("DEM", np.dtype("float32"), _elevation),
    _band("EDM", "uint8", _constant(8), "SAMPLE"),
    _band("FLM", "uint8", _constant(1), "SAMPLE"),
    _band("HEM", "float32", lambda window: np.full((window.height, window.width), 0.5, np.float32)),
    _band("WBM", "uint8", lambda window: _water(window) * np.uint8(2), "SAMPLE"),
)
_MAP = GlobalBand("Map", np.dtype("uint8"), _from_window(_classes, 10.0), "MODE")


def _columns_of(latitude: int) -> int:
    """Columns of a GLO-30 tile whose southern edge is at a latitude."""
    reach = max(abs(latitude), abs(latitude + 1)) - 1
    for limit, columns in ((50, 3600), (60, 2400), (70, 1800), (80, 1200), (85, 720)):
        if reach < limit:
            return columns
    return 360


def _tile(longitude: int, latitude: int) -> GlobalImage:
    """The GLO-30 tile of a degree by its south-western corner."""
    columns = _columns_of(latitude)
    dx = 1 / columns
    transform = (dx, 0, longitude - dx / 2, 0, -_SECOND, latitude + 1 + _SECOND / 2)
    north = f"{'N' if latitude >= 0 else 'S'}{abs(latitude):02d}_00"
    east = f"{'E' if longitude >= 0 else 'W'}{abs(longitude):03d}_00"
    return GlobalImage(
        f"COPERNICUS/DEM/GLO30/Copernicus_DSM_COG_10_{north}_{east}_DEM",
        _GLO30_TIME_MS * 1000 + columns,
        GlobalGrid(LONLAT, transform, columns + 1, 3601),  # tiles share the pixels of their edges
        _GLO30_BANDS,
        _GLO30_TIME_MS,
        (float(longitude), float(latitude), float(longitude + 1), float(latitude + 1)),
        {"system:time_start": _GLO30_TIME_MS, "system:time_end": _GLO30_TIME_MS},
    )


class Glo30:
    """The tiles of the Copernicus DEM."""

    id = "COPERNICUS/DEM/GLO30"
    properties: Mapping[str, Any] = {"title": "Copernicus DEM GLO-30"}

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Tiles in asset id order; see `eelocal.assets.StoredCollection`."""
        if (start_ms or 0) > _GLO30_TIME_MS or (end_ms is not None and end_ms <= _GLO30_TIME_MS):
            return
        west, south, east, north = (-180, -90, 180, 90) if region is None else region.bounds
        lats = range(max(int(np.floor(south)) - 1, -90), min(int(np.floor(north)) + 1, 89) + 1)
        lons = range(max(int(np.floor(west)) - 1, -180), min(int(np.floor(east)) + 1, 179) + 1)
        tiles = sorted(((lon, lat) for lat in lats for lon in lons), key=lambda corner: _tile(*corner).id)
        for lon, lat in tiles:
            if region is None or box(lon, lat, lon + 1, lat + 1).intersects(region):
                yield _tile(lon, lat)

    def get(self, index: str) -> StoredImage | None:
        """The tile with that `system:index`, or None."""
        parts = index.split("_")
        if len(parts) != 9 or not (parts[4][1:].isdigit() and parts[6][1:].isdigit()):
            return None
        latitude = int(parts[4][1:]) * (1 if parts[4][0] == "N" else -1)
        longitude = int(parts[6][1:]) * (1 if parts[6][0] == "E" else -1)
        if not (-90 <= latitude < 90 and -180 <= longitude < 180):
            return None
        tile = _tile(longitude, latitude)
        return tile if tile.id.endswith(f"/{index}") else None


class WorldCover:
    """ESA WorldCover 2021: a collection of one image."""

    id = "ESA/WorldCover/v200"
    properties: Mapping[str, Any] = {"title": "ESA WorldCover 10 m v200"}
    _image = GlobalImage(
        "ESA/WorldCover/v200/2021",
        1_666_000_000_000_000,
        WORLDCOVER_GRID,
        (_MAP,),
        _WORLDCOVER_MS[0],
        (-180, -60, 180, 84),
        {"system:time_start": _WORLDCOVER_MS[0], "system:time_end": _WORLDCOVER_MS[1], "version": "v200"},
    )

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """The one image, if it fits; see `eelocal.assets.StoredCollection`."""
        early = start_ms is not None and start_ms > _WORLDCOVER_MS[0]
        late = end_ms is not None and end_ms <= _WORLDCOVER_MS[0]
        if not early and not late and (region is None or self._image.footprint.intersects(region)):
            yield self._image

    def get(self, index: str) -> StoredImage | None:
        """The image `2021`, or None."""
        return self._image if index == "2021" else None
