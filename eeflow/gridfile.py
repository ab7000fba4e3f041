"""The one grid of a series, kept beside its products for as long as the series lives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.errors import GridError
from eeflow.grid import crs_name, grid_hash, parse_crs
from eeflow.output import whole_file

GRID_NAME = "grid.json"


def keep_grid(job: Job, aoi: AOI, bands: list[str], grid: GeoBox) -> GeoBox:
    """The grid to use: the folder's own from earlier runs, or `grid`, which then becomes the folder's own.

    Scenes that came later may suggest another grid for the same area; the series stays on the first.

    Raises:
        GridError: the folder holds a series of another area, grid option or source.
    """
    path = job.folder / GRID_NAME
    origin = {
        "source": job.image or job.collection,
        "aoi_hash": aoi.content_hash(),
        "options": job.grid.model_dump(),
        "bands": bands,
    }
    if not path.exists():
        _write(path, grid, origin)
        return grid
    record = _read(path)
    for key, name in (("source", "collection"), ("aoi_hash", "area"), ("options", "grid options")):
        if record["origin"][key] != origin[key]:
            raise GridError(
                f"{job.folder} holds a series with another {name}, and one folder keeps one grid. Give this job "
                f"another name or output.root, or remove {path} to begin anew there."
            )
    return GeoBox(tuple(record["shape"]), Affine(*record["transform"]), parse_crs(record["crs"]))


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


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        grid = GeoBox(tuple(record["shape"]), Affine(*record["transform"]), parse_crs(record["crs"]))
        if grid_hash(grid) == record["hash"] and record["origin"].keys() >= {"source", "aoi_hash", "options"}:
            return dict(record)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise GridError(f"{path} was changed or damaged: its hash does not fit its grid. Restore it, or remove it.")
