"""The area of interest: read from a file, a box or GeoJSON, checked, and brought into any CRS."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pyproj.aoi
import pyproj.database
import pyproj.exceptions
import shapely
from shapely.geometry.base import BaseGeometry

from eeflow.config import digest
from eeflow.errors import AOIError
from eeflow.options import AreaOfInterest

# geopandas, with pandas, is a third of a small run's memory; it is only there where a file is read.
if TYPE_CHECKING:
    import geopandas as gpd

_LONLAT = pyproj.CRS("EPSG:4326")
_PARQUET = {".parquet", ".geoparquet", ".pq"}
# Vertices beyond which a search uses the convex hull: Earth Engine refuses request bodies above 10 MiB.
_MAX_SEARCH_VERTICES = 2000
# A straight edge is cut into this many parts before it is projected, so that its curve in the other CRS is kept.
_PARTS = 64


@dataclass(frozen=True)
class AOI:
    """One area: a two-dimensional geometry with an area, and the CRS of its coordinates."""

    geometry: BaseGeometry
    crs: pyproj.CRS

    def to_crs(self, crs: pyproj.CRS) -> BaseGeometry:
        """The geometry in another CRS, its straight edges densified first.

        Raises:
            AOIError: part of it has no coordinates there.
        """
        if crs == self.crs:
            return self.geometry
        left, bottom, right, top = self.geometry.bounds
        dense = shapely.segmentize(self.geometry, max(right - left, top - bottom) / _PARTS)
        moved = _moved(dense, self.crs, crs)
        if not np.isfinite(moved.bounds).all():
            raise AOIError(
                f"The area at {_format_bounds(self.geometry.bounds)} cannot be expressed in {crs.name}; "
                "choose a CRS that covers it as grid.crs."
            )
        return moved

    @property
    def lonlat(self) -> BaseGeometry:
        """The geometry in longitude and latitude (EPSG:4326)."""
        return self.to_crs(_LONLAT)

    def search_geometry(self) -> dict[str, Any]:
        """GeoJSON in longitude and latitude that holds the area, small enough for a request's body."""
        geometry = self.lonlat
        if shapely.get_num_coordinates(geometry) > _MAX_SEARCH_VERTICES:
            geometry = geometry.convex_hull
        return dict(shapely.geometry.mapping(geometry))

    def content_hash(self) -> str:
        """Hash of the CRS and every vertex."""
        return digest([self.crs.to_authority() or self.crs.to_wkt(), shapely.normalize(self.geometry).wkb_hex])[:16]


def load_aoi(options: AreaOfInterest) -> AOI:
    """The area a job names, its features dissolved into one geometry.

    Raises:
        AOIError: no such file or layer, no CRS, no features, no area (points or lines without a buffer), an invalid
            polygon, coordinates that are not on Earth, or an area over the antimeridian.
    """
    found, crs, source = _read(options)
    if crs is None:
        raise AOIError(
            f"{source} has no CRS, so its coordinates cannot be placed. Set one in the file, or give aoi.crs in "
            "the job."
        )
    geometries = [g for g in shapely.force_2d(found) if g is not None and not g.is_empty]
    if not geometries:
        chosen = f" where {options.where}" if options.where else ""
        raise AOIError(f"{source} has no features{chosen}, so there is no area to download.")
    geometry = shapely.union_all(_valid(geometries, source, repair=options.repair))
    aoi = AOI(_buffered(geometry, crs, options.buffer), crs)
    _check_area(aoi, source)
    _check_on_earth(aoi, source)
    return aoi


def read_features(options: AreaOfInterest) -> tuple[gpd.GeoDataFrame, str]:
    """The features an area names, as they are, and what to call their source in messages.

    Raises:
        AOIError: no such file or layer, or not one that can be read.
    """
    import geopandas as gpd  # noqa: PLC0415

    if options.file is None:
        geometries, crs, source = _read(options)
        return gpd.GeoDataFrame(geometry=geometries, crs=crs), source
    path = Path(str(options.file))
    if not path.exists():
        raise AOIError(f"{path} does not exist; aoi.file is relative to the job file.")
    frame = _read_parquet(path, options) if path.suffix.lower() in _PARQUET else _read_vector(path, options)
    if frame.crs is None and options.crs:
        frame = frame.set_crs(_crs(options.crs))
    return frame, path.name


def _read(options: AreaOfInterest) -> tuple[list[BaseGeometry], pyproj.CRS | None, str]:
    """The geometries an area names, their CRS where it is known, and what to call their source."""
    declared = _crs(options.crs) if options.crs else None
    if options.bbox is not None:
        return [shapely.box(*options.bbox)], declared or _LONLAT, "aoi.bbox"
    if options.geojson is not None:
        return [_read_geojson(options.geojson)], declared or _LONLAT, "aoi.geojson"
    frame, source = read_features(options)
    return list(frame.geometry), None if frame.crs is None else pyproj.CRS(frame.crs), source


def _read_geojson(content: dict[str, Any]) -> BaseGeometry:
    try:
        return shapely.from_geojson(json.dumps(content))
    except (shapely.GEOSException, TypeError, ValueError) as error:
        raise AOIError(f"aoi.geojson is not valid GeoJSON: {error}.") from None


def _read_parquet(path: Path, options: AreaOfInterest) -> gpd.GeoDataFrame:
    if options.layer or options.where:
        raise AOIError(f"{path.name} is GeoParquet, of which aoi.layer and aoi.where cannot choose; use a GeoPackage.")
    import geopandas as gpd  # noqa: PLC0415

    try:
        return gpd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise AOIError(f"{path.name} cannot be read as GeoParquet: {_first_line(error)}.") from None


def _read_vector(path: Path, options: AreaOfInterest) -> gpd.GeoDataFrame:
    import geopandas as gpd  # noqa: PLC0415
    import pyogrio.errors  # noqa: PLC0415

    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]  # None: a plain table
        if options.layer is not None and options.layer not in layers:
            raise AOIError(f"{path.name} has no layer {options.layer!r}; it has {', '.join(layers)}.")
        if options.layer is None and len(layers) > 1:
            raise AOIError(f"{path.name} has {len(layers)} layers; choose one as aoi.layer: {', '.join(layers)}.")
        return gpd.read_file(path, layer=options.layer or layers[0], where=options.where)
    except pyogrio.errors.DataSourceError as error:
        raise AOIError(f"{path.name} cannot be read as a vector file: {_first_line(error)}.") from None
    except AOIError:
        raise
    except (pyogrio.errors.DataLayerError, ValueError) as error:
        condition = f" with where: {options.where!r}" if options.where else ""
        raise AOIError(f"{path.name} cannot be read{condition}: {_first_line(error)}.") from None
    except IndexError:
        raise AOIError(f"{path.name} has no layer with geometries, so there is no area to download.") from None


def _valid(geometries: list[BaseGeometry], source: str, *, repair: bool) -> list[BaseGeometry]:
    if repair:
        return [_repaired(g) for g in geometries]
    for number, geometry in enumerate(geometries, start=1):
        if not geometry.is_valid:
            raise AOIError(
                f"{source}: feature {number} of {len(geometries)} is not a valid polygon "
                f"({shapely.is_valid_reason(geometry)}). Repair it in the file, or set aoi.repair: true."
            )
    return geometries


def _repaired(geometry: BaseGeometry) -> BaseGeometry:
    """Valid, and of the same dimension where that leaves anything: a polygon's spike becomes no line."""
    parts = shapely.get_parts(shapely.make_valid(geometry))
    same = parts[shapely.get_dimensions(parts) == shapely.get_dimensions(geometry)]
    return shapely.union_all(same if len(same) else parts)


def _buffered(geometry: BaseGeometry, crs: pyproj.CRS, metres: float) -> BaseGeometry:
    if not metres:
        return geometry
    west, south, east, north = shapely.bounds(_moved(geometry, crs, _LONLAT))
    middle = pyproj.aoi.AreaOfInterest(*((west + east) / 2, (south + north) / 2) * 2)
    zones = pyproj.database.query_utm_crs_info("WGS 84", middle) if np.isfinite([west, south]).all() else []
    if not zones:
        raise AOIError(
            f"The area at {_format_bounds(geometry.bounds)} in {crs.name} lies in no UTM zone, so aoi.buffer cannot be "
            "measured in metres. Check its CRS, or give the area without a buffer."
        )
    utm = pyproj.CRS.from_epsg(zones[0].code)
    return _moved(shapely.buffer(_moved(geometry, crs, utm), metres), utm, crs)


def _moved(geometry: BaseGeometry, crs: pyproj.CRS, to: pyproj.CRS) -> BaseGeometry:
    """A geometry in another CRS, vertex by vertex."""
    transformer = pyproj.Transformer.from_crs(crs, to, always_xy=True)
    return shapely.transform(geometry, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1])))


def _check_area(aoi: AOI, source: str) -> None:
    if aoi.geometry.is_empty:
        raise AOIError(f"{source}: nothing is left of the area after aoi.buffer; use a smaller one.")
    if aoi.geometry.area == 0:
        kind = aoi.geometry.geom_type
        raise AOIError(
            f"{source} holds only {kind} geometry, which has no area. Give polygons, or a width in metres "
            "as aoi.buffer."
        )
    if aoi.geometry.geom_type == "GeometryCollection":
        raise AOIError(
            f"{source} holds points or lines beside its polygons, which have no area. Choose the polygons with "
            "aoi.layer or aoi.where, or give a width in metres as aoi.buffer."
        )


def _check_on_earth(aoi: AOI, source: str) -> None:
    west, south, east, north = aoi.lonlat.bounds
    if south < -90 or north > 90 or west < -360 or east > 360:
        raise AOIError(
            f"{source} reaches from {_format_bounds((west, south, east, north))} in longitude and latitude, which is "
            f"not on Earth; its CRS ({aoi.crs.name}) is probably not the one its coordinates are in."
        )
    if west >= 180 or east <= -180:
        raise AOIError(f"{source} lies at longitudes {west:g} to {east:g}; write them between -180 and 180.")
    if east - west > 180 or east > 180 or west < -180:
        raise AOIError(
            f"{source} crosses the antimeridian (longitudes {west:g} to {east:g}). Split it at 180 degrees and run one "
            "job for each part."
        )


def _crs(text: str) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        raise AOIError(f"aoi.crs is {text!r}, which is no known CRS; write it like EPSG:4326.") from None


def _format_bounds(bounds: tuple[float, ...]) -> str:
    left, bottom, right, top = bounds
    return f"({left:g}, {bottom:g}) to ({right:g}, {top:g})"


def _first_line(error: BaseException) -> str:
    text, _, _hint = str(error).splitlines()[0].partition("; It might help")
    return text.rstrip(".")
