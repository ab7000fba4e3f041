"""What Earth Engine has: the scenes of a collection over an area and a period, and their bands."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import ee
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from eeflow.aoi import AOI
from eeflow.config import Job, safe_name
from eeflow.errors import ConfigError, NotFound, RequestError
from eeflow.grid import PixelLattice, crs_name, own_grid, parse_crs
from eeflow.options import Comparison
from eeflow.session import Session

_TOO_MANY = "after accumulating over 5000 elements"
_NOT_FOUND = re.compile(r"asset '(.+?)' not found|is not an ImageCollection|is not an Image\b")
# Earth Engine's filter for each of the job's comparisons.
_FILTERS = {
    "eq": "eq",
    "ne": "neq",
    "lt": "lt",
    "lte": "lte",
    "gt": "gt",
    "gte": "gte",
    "contains": "stringContains",
}

# What collections call it: Sentinel-2, Sentinel-1, Landsat.
_ORBIT = (
    "SPACECRAFT_NAME", "SENSING_ORBIT_NUMBER", "platform_number", "relativeOrbitNumber_start",
    "orbitProperties_pass", "SPACECRAFT_ID", "WRS_PATH",
)  # fmt: skip
_TILE = ("MGRS_TILE", "WRS_PATH", "WRS_ROW")
_PRODUCED = ("GENERATION_TIME", "DATE_PRODUCT_GENERATED", "PROCESSING_BASELINE")
_RANGES = {
    name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32")
}
_CLOUD = ("CLOUDY_PIXEL_PERCENTAGE", "CLOUD_COVER")


@dataclass(frozen=True)
class Band:
    """A band of a scene: its name, the narrowest dtype that holds its declared range, and its own pixels.

    Attributes:
        shape: (height, width) of the whole scene; None where it has no bounds.
    """

    name: str
    dtype: str
    crs: str
    crs_transform: tuple[float, ...]
    shape: tuple[int, int] | None

    @property
    def lattice(self) -> PixelLattice:
        """Where the band's pixels lie."""
        return PixelLattice.of(self.crs, self.crs_transform)


@dataclass(frozen=True)
class Scene:
    """One image of a collection.

    Attributes:
        scene_id: its `system:index`.
        version: its `system:version` (microseconds); None where the service gives none.
        time_start: aware UTC; None where the image has no time.
        bands: all its bands, in order.
        footprint: where it has pixels, in longitude and latitude; None where it does not say.
        orbit: platform and orbit of the pass it was taken in; empty where it does not say.
        tile: which ground it shows, as its collection counts it; empty where it does not say.
        produced: when it was processed, in the collection's own words, later ones sorting later.
        cloud_cover: share of the whole scene, 0 to 1; None where it does not say.
    """

    scene_id: str
    version: int | None
    time_start: datetime | None
    bands: tuple[Band, ...]
    footprint: BaseGeometry | None
    orbit: str = ""
    tile: str = ""
    produced: str = ""
    cloud_cover: float | None = None

    def band(self, name: str) -> Band:
        """The band of that name."""
        return next(band for band in self.bands if band.name == name)


def find_scenes(session: Session, job: Job, aoi: AOI, now: datetime | None = None) -> list[Scene]:
    """Scenes that touch what is searched in the job's period and pass its filters, by time, then by id.

    Args:
        session: the connection.
        job: names the collection or image, dates and filters.
        aoi: the area.
        now: the moment `dates.last` counts from; the present by default.

    Raises:
        NotFound: there is no such collection or image.
        RequestError: Earth Engine refuses.
    """
    try:
        if job.image is not None:
            scene = _scene(session.value(ee.Image(job.image)))
            return [scene] if scene.footprint is None or scene.footprint.intersects(aoi.lonlat) else []
        source = ee.ImageCollection(job.collection).filterBounds(search_area(job, aoi))
        for name, comparison in sorted(job.filters.items()):
            source = source.filter(property_filter(name, comparison))
        features = _list(session, source, *job.dates.resolve(now)) if job.dates else _list_all(session, source)
    except RequestError as error:
        if _NOT_FOUND.search(str(error)):
            raise NotFound(_not_found_text(job, str(error))) from None
        raise
    scenes = [_scene(feature) for feature in features]
    return sorted(scenes, key=lambda scene: (scene.time_start or datetime.min.replace(tzinfo=UTC), scene.scene_id))


def search_area(job: Job, aoi: AOI) -> ee.Geometry:
    """Where scenes are searched: over the area, or over all of a larger or smaller grid of the job's own.

    Such a grid counts where its CRS has a name, for `native` is only known of scenes, and where products are not
    clipped to the area.

    Raises:
        GridError: the CRS is unknown, or the grid does not meet the area.
    """
    named = job.grid.crs not in ("native", "utm")
    own = own_grid(job.grid, aoi, parse_crs(job.grid.crs)) if named else None
    if own is None or job.aoi.clip:
        return ee.Geometry(aoi.search_geometry(), geodesic=False)  # the area's edges are straight in its coordinates
    return ee.Geometry.Rectangle(list(own.boundingbox.bbox), crs_name(own), False)


def choose_bands(patterns: Sequence[str], scenes: Sequence[Scene]) -> list[str]:
    """Names of the bands that a job's patterns choose, in the patterns' order; no patterns: all.

    A pattern is a name, or a regular expression that must match a whole name, as in Earth Engine's `select`.

    Raises:
        ConfigError: a pattern matches no band that all scenes have.
    """
    common = _common_bands(scenes)
    if not patterns:
        return common
    chosen: list[str] = []
    for pattern in patterns:
        matches = [pattern] if pattern in common else _matching(pattern, common)
        if not matches:
            raise ConfigError(_no_band_text(pattern, common, scenes))
        chosen.extend(name for name in matches if name not in chosen)
    return chosen


def native_lattice(bands: Sequence[str], scenes: Sequence[Scene]) -> PixelLattice:
    """Pixels of the finest chosen band, on the CRS that most scenes are in (ties: the first by name)."""
    finest = [
        min((scene.band(name).lattice for name in bands), key=lambda lattice: lattice.metres()) for scene in scenes
    ]
    counts = Counter(lattice.crs for lattice in finest)
    crs = min(counts, key=lambda name: (-counts[name], name))
    return min(
        (lattice for lattice in finest if lattice.crs == crs),
        key=lambda lattice: (lattice.metres(), lattice.x_origin, lattice.y_origin),
    )


def band_dtype(name: str, scenes: Iterable[Scene]) -> np.dtype[Any]:
    """The dtype that holds the band of every scene."""
    return np.result_type(*{np.dtype(scene.band(name).dtype) for scene in scenes})


def property_filter(name: str, comparison: Comparison) -> ee.Filter:
    """Earth Engine's filter for the conditions on one property."""
    conditions = comparison.model_dump(exclude_none=True)
    filters = [
        ee.Filter.inList(name, value) if kind == "within" else getattr(ee.Filter, _FILTERS[kind])(name, value)
        for kind, value in conditions.items()
    ]
    return ee.Filter.And(*filters) if len(filters) > 1 else filters[0]


def _list(session: Session, source: ee.ImageCollection, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """All images of a period; halves the period where Earth Engine's limit of 5,000 elements is met."""
    try:
        result = session.value(source.filterDate(_text(start), _text(end)))
        return list(result["features"])
    except RequestError as error:
        if _TOO_MANY not in str(error) or end - start <= timedelta(seconds=2):
            raise
    middle = (start + (end - start) / 2).replace(microsecond=0)
    return _list(session, source, start, middle) + _list(session, source, middle, end)


def _list_all(session: Session, source: ee.ImageCollection) -> list[dict[str, Any]]:
    try:
        return list(session.value(source)["features"])
    except RequestError as error:
        if _TOO_MANY in str(error):
            raise ConfigError("The area meets more than 5,000 scenes; give dates.") from None
        raise


def _scene(image: dict[str, Any]) -> Scene:
    properties = image.get("properties", {})
    time_ms = properties.get("system:time_start")
    version = image.get("version", properties.get("system:version"))
    asset_id = str(image.get("id", ""))
    return Scene(
        scene_id=str(properties.get("system:index") or asset_id.rpartition("/")[2] or "0"),
        version=None if version is None else int(version),
        time_start=None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC),
        bands=tuple(_band(band) for band in image["bands"]),
        footprint=_footprint(properties.get("system:footprint")),
        orbit=_joined(properties, _ORBIT),
        tile=_joined(properties, _TILE),
        produced=_joined(properties, _PRODUCED),
        cloud_cover=next((float(properties[name]) / 100 for name in _CLOUD if name in properties), None),
    )


def _joined(properties: dict[str, Any], names: Sequence[str]) -> str:
    """The properties that are there, as one text; whole numbers without a decimal point."""
    values = (properties[name] for name in names if properties.get(name) is not None)
    return "_".join(safe_name(f"{value:.0f}" if isinstance(value, float) else str(value)) for value in values)


def _band(band: dict[str, Any]) -> Band:
    dimensions = band.get("dimensions")
    crs = band.get("crs") or band.get("crs_wkt") or "EPSG:4326"
    return Band(
        name=band["id"],
        dtype=_dtype(band["data_type"]),
        crs=crs,
        crs_transform=tuple(float(v) for v in band["crs_transform"]),
        shape=None if dimensions is None else (dimensions[1], dimensions[0]),
    )


def _dtype(data_type: dict[str, Any]) -> str:
    precision = data_type["precision"]
    if precision == "double":
        return "float64"
    if precision == "float":
        return "float32"
    low, high = int(data_type.get("min", -(2**31))), int(data_type.get("max", 2**31 - 1))
    return next((name for name, (least, most) in _RANGES.items() if least <= low and high <= most), "int64")


def _footprint(geojson: Any) -> BaseGeometry | None:
    if not isinstance(geojson, dict) or not geojson.get("coordinates"):
        return None
    if geojson.get("type") == "LinearRing":  # as Earth Engine gives it; GeoJSON proper has polygons only
        geojson = {"type": "Polygon", "coordinates": [geojson["coordinates"]]}
    try:
        geometry = shapely.make_valid(shapely.geometry.shape(geojson))
    except (ValueError, TypeError, KeyError, shapely.GEOSException):
        return None
    return geometry if geometry.area > 0 and np.isfinite(geometry.bounds).all() else None


def _common_bands(scenes: Sequence[Scene]) -> list[str]:
    names = [band.name for band in scenes[0].bands]
    shared = set(names).intersection(*({band.name for band in scene.bands} for scene in scenes))
    return [name for name in names if name in shared]


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    try:
        return [name for name in names if re.fullmatch(pattern, name)]
    except re.error as error:
        raise ConfigError(f"bands has {pattern!r}, which is no valid regular expression: {error}.") from None


def _no_band_text(pattern: str, common: Sequence[str], scenes: Sequence[Scene]) -> str:
    without = sum(all(band.name != pattern for band in scene.bands) for scene in scenes)
    if 0 < without < len(scenes):
        return (
            f"bands has {pattern!r}, which {without} of {len(scenes)} scenes do not have; choose scenes that have it "
            f"with filters, or bands all have: {', '.join(common)}."
        )
    near = difflib.get_close_matches(pattern, common, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"bands has {pattern!r}, which matches no band.{hint} The bands are {', '.join(common)}."


def _not_found_text(job: Job, message: str) -> str:
    kind, name = ("image", job.image) if job.image else ("collection", job.collection)
    if "is not an" in message:
        other = "collection" if job.image else "image"
        return (
            f"{kind} is {name!r}, which is not an {kind} on Earth Engine; is it a single {other}? Say {other}: {name}."
        )
    return f"{kind} is {name!r}, which Earth Engine does not have or does not show to this account; check its id."


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")
