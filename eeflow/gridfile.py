"""The one grid of a series and its area, kept beside its products for as long as the series lives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.errors import GridError
from eeflow.grid import crs_name, grid_hash, parse_crs
from eeflow.output import whole_file

GRID_NAME = "grid.json"
AREA_NAME = "area.geojson"
_NAMES = {"source": "collection", "aoi_hash": "area", "options": "grid options"}


def kept_grid(job: Job, aoi: AOI, grid: GeoBox) -> GeoBox:
    """The grid to use: the folder's own from earlier runs; `grid` where it has none yet.

    Scenes that came later may suggest another grid for the same area; the series stays on the first.

    Raises:
        GridError: the folder holds a series of another source, area or grid option, or of coarser pixels.
    """
    path = job.folder / GRID_NAME
    if not path.exists():
        return grid
    record, origin = _read(path), _origin(job, aoi)
    kept = _grid(record)
    other = next((name for key, name in _NAMES.items() if record["origin"][key] != origin[key]), None)
    if other is None and kept.crs == grid.crs and grid.transform.a < kept.transform.a * (1 - 1e-6):
        other = f"resolution ({kept.transform.a:g} where the chosen bands have {grid.transform.a:g})"
    if other:
        raise GridError(
            f"{job.folder} holds a series with another {other}, and one folder keeps one grid. Give this job another "
            f"name or output.root, or remove {path} to begin anew there."
        )
    return kept


def keep_grid(job: Job, aoi: AOI, grid: GeoBox) -> GeoBox:
    """The same, and `grid` becomes the folder's own where it has none yet. Errors as in `kept_grid`."""
    path, area = job.folder / GRID_NAME, job.folder / AREA_NAME
    kept = kept_grid(job, aoi, grid)
    if not path.exists():
        _write(path, kept, _origin(job, aoi))
    if not area.exists():
        _write_area(area, job, aoi)
    return kept


def read_grid(folder: Path) -> GeoBox | None:
    """The grid of a folder's series; None where it has none yet.

    Raises:
        GridError: its file was changed or damaged.
    """
    path = folder / GRID_NAME
    return _grid(_read(path)) if path.exists() else None


def read_area(folder: Path) -> BaseGeometry | None:
    """The area of a folder's series in longitude and latitude; None where none, or nothing readable, is kept."""
    try:
        feature = json.loads((folder / AREA_NAME).read_text(encoding="utf-8"))
        return shapely.geometry.shape(feature["geometry"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.GEOSException):
        return None


def _grid(record: dict[str, Any]) -> GeoBox:
    return GeoBox(tuple(record["shape"]), Affine(*record["transform"]), parse_crs(record["crs"]))


def _origin(job: Job, aoi: AOI) -> dict[str, Any]:
    """What the grid was made for."""
    return {
        "source": job.image or job.collection,
        "aoi_hash": aoi.content_hash(),
        "options": job.grid.model_dump(exclude={"resampling"}, exclude_none=True),
    }


def _write(path: Path, grid: GeoBox, origin: dict[str, Any]) -> None:
    record = {
        "crs": crs_name(grid),
        "transform": list(grid.transform)[:6],
        "shape": list(grid.shape),
        "hash": grid_hash(grid),
        "origin": origin,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_area(path: Path, job: Job, aoi: AOI) -> None:
    feature = {
        "type": "Feature",
        "properties": {"name": job.name, "source": job.image or job.collection},
        "geometry": shapely.geometry.mapping(aoi.lonlat),
    }
    with whole_file(path) as part:
        part.write_text(json.dumps(feature) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if grid_hash(_grid(record)) == record["hash"] and record["origin"].keys() >= _NAMES.keys():
            return dict(record)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise GridError(f"{path} was changed or damaged: its hash does not fit its grid. Restore it, or remove it.")
