"""STAC beside the products: an item each, and the catalog and collection that hold them.

Everything lies in the job's folder with relative links, so the folder can be moved or served as it is. Items follow
STAC 1.1 (https://github.com/radiantearth/stac-spec/tree/v1.1.0): bands are the core's `bands`, to which the raster and
eo extensions add.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rio_stac.stac import get_projection_info

from eeflow import __version__
from eeflow.config import Job
from eeflow.grid import crs_name, pixel_metres
from eeflow.ledger import Entry
from eeflow.output import whole_file
from eeflow.presets import preset_for

CATALOG_NAME, COLLECTION_NAME = "catalog.json", "collection.json"
_TAKEN = {"catalog", "collection", "grid"}  # names of other files of the folder, without their ending
_EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "eo": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.1.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
}
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_SHA256_MULTIHASH = "1220"  # the hash function's code and its length in bytes, before the hash itself
# Statistics are those of all pixels, so they are left out where reading them again would take long.
_STATISTICS_VALUES = 2**23
_FOOTPRINT_SIDE = 512  # pixels of the longer side of the mask that a footprint is drawn around
_SIMPLIFIED = 1e-6  # degrees, about 0.1 m, that an outline may be off
_PARTS = 16  # into which the grid's longer side is cut before an outline is projected

# STAC's names of bands (https://github.com/stac-extensions/eo#common-band-names), by those of the spectral indices.
_COMMON_NAMES = {
    "A": "coastal", "B": "blue", "G": "green", "Y": "yellow", "R": "red", "RE1": "rededge071", "RE2": "rededge075",
    "RE3": "rededge078", "N": "nir", "N2": "nir08", "WV": "nir09", "S1": "swir16", "S2": "swir22", "T": "lwir",
    "T1": "lwir11", "T2": "lwir12",
}  # fmt: skip


def item_name(path: str) -> str:
    """File name of the item of a product, given the product's."""
    stem = Path(path).stem
    return f"{stem}_item.json" if stem in _TAKEN else f"{stem}.json"


def write_item(job: Job, entry: Entry) -> Path:
    """Writes the item of a product that is on disk, under its name or about to get its row in the ledger."""
    path = job.folder / item_name(entry.path)
    _write(path, _item(job, entry).to_dict(include_self_link=False, transform_hrefs=False))
    return path


def write_catalog(job: Job, grid: GeoBox, entries: Iterable[Entry]) -> Path:
    """Writes the collection of a folder's products and the catalog that leads to it; items that lack are made."""
    entries = list(entries)
    for entry in entries:
        if not (job.folder / item_name(entry.path)).exists():
            write_item(job, entry)
    collection, catalog = _collection(job, grid, entries), _catalog(job)
    _write(job.folder / COLLECTION_NAME, collection.to_dict(include_self_link=False, transform_hrefs=False))
    _write(job.folder / CATALOG_NAME, catalog.to_dict(include_self_link=False, transform_hrefs=False))
    return job.folder / CATALOG_NAME


def _item(job: Job, entry: Entry) -> pystac.Item:
    tif = job.folder / entry.path
    with rasterio.open(tif) as raster:
        geometry, bbox = _footprint(raster)
        projection = _projection(raster)
        bands = _bands(raster, str(job.image or job.collection))
        metres = pixel_metres(raster.crs.to_wkt(), raster.transform)
    common = any("eo:common_name" in band for band in bands)
    cloud = {} if entry.cloud_fraction is None else {"eo:cloud_cover": round(entry.cloud_fraction * 100, 3)}
    item = pystac.Item(
        id=tif.stem,
        geometry=geometry,
        bbox=bbox,
        **_times(entry),
        properties={
            "created": entry.written_at.replace("+00:00", "Z"),
            "gsd": round(metres, 6),
            **projection,
            **cloud,
            "processing:software": {"eeflow": __version__},
            "processing:lineage": _lineage(job, entry),
            "eeflow:scene_ids": list(entry.scene_ids),
            "eeflow:versions": list(entry.versions),
            "eeflow:job_hash": entry.job_hash,
            "eeflow:grid_hash": entry.grid_hash,
            "eeflow:valid_percent": round(entry.valid_fraction * 100, 3),
        },
        stac_extensions=[
            uri for name, uri in _EXTENSIONS.items() if name != "eo" or common or entry.cloud_fraction is not None
        ],
    )
    facts = {"bands": bands, "file:checksum": f"{_SHA256_MULTIHASH}{entry.sha256}", "file:size": entry.size}
    media_type = _COG if job.output.format == "cog" else "image/tiff; application=geotiff"
    item.add_asset("data", pystac.Asset(f"./{tif.name}", media_type=media_type, roles=["data"], extra_fields=facts))
    if (picture := tif.with_suffix(".png")).exists():
        item.add_asset("thumbnail", pystac.Asset(f"./{picture.name}", media_type="image/png", roles=["thumbnail"]))
    item.collection_id = job.name
    for relation, target in (("root", CATALOG_NAME), ("parent", COLLECTION_NAME), ("collection", COLLECTION_NAME)):
        item.add_link(_link(relation, target))
    return item


def _times(entry: Entry) -> dict[str, Any]:
    """A moment, or a period. STAC must have one: what has none, such as a terrain model, is dated by its download."""
    if entry.time_start is None:
        return {"datetime": datetime.fromisoformat(entry.written_at)}
    start = datetime.fromisoformat(entry.time_start)
    end = datetime.fromisoformat(entry.time_end or entry.time_start)
    if start == end:
        return {"datetime": start}
    return {"datetime": None, "start_datetime": start, "end_datetime": end}


def _lineage(job: Job, entry: Entry) -> str:
    how = f" by {job.product.merging}" if job.product.merging else ""
    many = f"{len(entry.scene_ids)} scenes" if len(entry.scene_ids) != 1 else f"scene {entry.scene_ids[0]}"
    names = f": {', '.join(entry.scene_ids)}" if len(entry.scene_ids) > 1 else ""
    return f"{entry.kind} of {job.image or job.collection} on Earth Engine{how}, from {many}{names}."


def _projection(raster: Any) -> dict[str, Any]:
    """The projection extension's fields; as its version 2 has them, which rio-stac does not yet write."""
    known = get_projection_info(raster)
    fields = {f"proj:{name}": known[name] for name in ("bbox", "shape")} | {
        "proj:transform": list(raster.transform)[:6]
    }
    if known["epsg"]:
        return {"proj:code": f"EPSG:{known['epsg']}", **fields}
    return {"proj:code": None, "proj:wkt2": raster.crs.to_wkt(), **fields}


def _bands(raster: Any, source: str) -> list[dict[str, Any]]:
    preset = preset_for(source)
    common = {band: _COMMON_NAMES.get(name) for name, band in preset.common_names.items()} if preset else {}
    cheap = raster.width * raster.height * raster.count <= _STATISTICS_VALUES
    metres = pixel_metres(raster.crs.to_wkt(), raster.transform)
    bands = []
    for index in raster.indexes:
        name = raster.descriptions[index - 1] or f"b{index}"
        band: dict[str, Any] = {"name": name, "data_type": raster.dtypes[index - 1]}
        if (nodata := raster.nodatavals[index - 1]) is not None:
            band["nodata"] = "nan" if math.isnan(nodata) else int(nodata) if nodata == int(nodata) else nodata
        if unit := raster.units[index - 1]:
            band["unit"] = unit
        if cheap and (statistics := _statistics(raster.read(index, masked=True))):
            band["statistics"] = statistics
        band |= {"raster:sampling": "area", "raster:spatial_resolution": round(metres, 6)}
        band |= {"raster:scale": raster.scales[index - 1], "raster:offset": raster.offsets[index - 1]}
        if common.get(name):
            band["eo:common_name"] = common[name]
        bands.append(band)
    return bands


def _statistics(values: np.ma.MaskedArray[Any, Any]) -> dict[str, float]:
    """Of the stored numbers, scale and offset not applied; empty where no pixel is valid."""
    valid = np.asarray(values.compressed(), np.float64)
    if not np.isfinite(valid).any():
        return {}
    finite = valid[np.isfinite(valid)]
    return {
        "minimum": float(finite.min()),
        "maximum": float(finite.max()),
        "mean": float(finite.mean()),
        "stddev": float(finite.std()),
        "valid_percent": round(100 * finite.size / values.size, 3),
    }


def _footprint(raster: Any) -> tuple[dict[str, Any], list[float]]:
    """The convex hull of the valid pixels in longitude and latitude, and its box; the grid's outline without any."""
    shrink = max(1, math.ceil(max(raster.shape) / _FOOTPRINT_SIDE))
    shape = (math.ceil(raster.height / shrink), math.ceil(raster.width / shrink))
    valid = raster.dataset_mask(out_shape=shape) > 0
    transform = raster.transform @ Affine.scale(raster.width / shape[1], raster.height / shape[0])
    rows = np.flatnonzero(valid.any(axis=1))
    left, right = valid[rows].argmax(axis=1), shape[1] - valid[rows, ::-1].argmax(axis=1)
    x, y = transform @ (np.concatenate([left, right] * 2), np.concatenate([rows, rows, rows + 1, rows + 1]))
    outline = shapely.MultiPoint(np.column_stack([x, y])).convex_hull if len(rows) else shapely.box(*raster.bounds)
    return lonlat_outline(outline, raster.crs.to_wkt(), max(raster.shape) * raster.transform.a / _PARTS)


def grid_outline(grid: GeoBox) -> tuple[dict[str, Any], list[float]]:
    """A grid's outline in longitude and latitude, and its box."""
    part = max(grid.shape) * grid.transform.a / _PARTS
    return lonlat_outline(shapely.box(*grid.boundingbox), grid.crs.to_wkt(), part)


def lonlat_outline(outline: Any, crs: str, part: float) -> tuple[dict[str, Any], list[float]]:
    """A polygon of a CRS as GeoJSON in longitude and latitude, cut at the antimeridian, and its box.

    Args:
        outline: a polygon.
        crs: its CRS.
        part: edges are cut into parts of this length, so that their curve is kept.
    """
    dense = shapely.geometry.mapping(shapely.segmentize(outline, part))
    geojson = rasterio.warp.transform_geom(crs, "EPSG:4326", dense, antimeridian_cutting=True, precision=7)
    moved = shapely.simplify(shapely.geometry.shape(geojson), _SIMPLIFIED)
    west, south, east, north = moved.bounds
    if moved.geom_type == "MultiPolygon" and east - west > 180:  # its box goes over the antimeridian
        halves = [part.bounds for part in moved.geoms]
        west, east = min(b[0] for b in halves if b[0] >= 0), max(b[2] for b in halves if b[0] < 0)
    return dict(shapely.geometry.mapping(shapely.force_2d(moved))), [west, south, east, north]


def _collection(job: Job, grid: GeoBox, entries: list[Entry]) -> pystac.Collection:
    _, bbox = grid_outline(grid)
    starts = [datetime.fromisoformat(entry.time_start) for entry in entries if entry.time_start]
    ends = [datetime.fromisoformat(entry.time_end) for entry in entries if entry.time_end]
    source = job.image or job.collection
    collection = pystac.Collection(
        id=job.name,
        title=job.name,
        description=f"{source} over the area of {job.name}, on one grid in {crs_name(grid)}; written by eeflow.",
        extent=pystac.Extent(
            pystac.SpatialExtent([bbox]),
            pystac.TemporalExtent([[min(starts, default=None), max(ends, default=None)]]),
        ),
        license="other",
        keywords=[str(source), "Earth Engine"],
        providers=[
            pystac.Provider(
                "Google Earth Engine", roles=[pystac.ProviderRole.HOST], url="https://earthengine.google.com"
            ),
            pystac.Provider(
                "eeflow",
                roles=[pystac.ProviderRole.PROCESSOR],
                extra_fields={"processing:software": {"eeflow": __version__}},
            ),
        ],
        stac_extensions=[_EXTENSIONS["processing"]],
    )
    collection.add_link(_link("root", CATALOG_NAME))
    collection.add_link(_link("parent", CATALOG_NAME))
    for entry in entries:
        collection.add_link(_link("item", item_name(entry.path), "application/geo+json"))
    return collection


def _catalog(job: Job) -> pystac.Catalog:
    catalog = pystac.Catalog(id=job.name, title=job.name, description=f"Products of the job {job.name}.")
    catalog.clear_links()
    catalog.add_link(_link("root", CATALOG_NAME))
    catalog.add_link(_link("child", COLLECTION_NAME))
    return catalog


def _link(relation: str, name: str, media_type: str = "application/json") -> pystac.Link:
    return pystac.Link(relation, f"./{name}", media_type=media_type)


def _write(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
