"""The grid of the series, as a task."""

from __future__ import annotations

from odc.geo.geobox import GeoBox
from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.grid import build_grid
from eeflow.gridfile import keep_grid
from eeflow.scenes import Scene, native_lattice


@task(name="build grid", cache_policy=NO_CACHE)
def build_grid_task(job: Job, aoi: AOI, bands: list[str], scenes: list[Scene]) -> GeoBox:
    """The one grid of the job's series; `bands` are the scenes' own."""
    return keep_grid(job, aoi, build_grid(job.grid, aoi, native_lattice(bands, scenes)))
