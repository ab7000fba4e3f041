"""Fixtures of the unit tests, and how far hypothesis goes: enough to find mistakes, within seconds."""

import hashlib
from datetime import UTC, datetime, timedelta

import ee
import ee.apitestcase
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, settings
from odc.geo.geobox import GeoBox

from eeflow import series
from eeflow.aoi import load_aoi
from eeflow.grid import grid_hash
from eeflow.gridfile import keep_grid
from eeflow.images import make_images
from eeflow.jobfile import parse_job
from eeflow.ledger import Entry, Ledger
from eeflow.scenes import Band, Scene

settings.register_profile(
    "unit", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def offline_ee():
    """The real client, taught by the list of algorithms in its own package. Later initialising is not in its way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ee.data, "getAlgorithms", ee.apitestcase.GetAlgorithms)
        for kind in (ee.ApiFunction, ee.Element, ee.Collection, ee.Image, ee.Feature, ee.ImageCollection):
            kind.initialize()
        for kind in (ee.FeatureCollection, ee.Filter, ee.Geometry, ee.List, ee.Number, ee.String, ee.Projection):
            kind.initialize()
        yield ee


@pytest.fixture
def make_job(tmp_path):
    """Makes a job that writes below the test's own folder."""

    def make(**changes):
        return parse_job(
            {
                "name": "farm",
                "aoi": {"bbox": [4, 50, 5, 51]},
                "collection": "COPERNICUS/S2_SR_HARMONIZED",
                "dates": {"start": "2019-05-01", "end": "2019-06-01"},
                "output": {"root": str(tmp_path / "data")},
                **changes,
            }
        )

    return make


@pytest.fixture
def make_series(make_job):
    """Makes a series of scenes with the given bands; each scene covers the whole grid, and some pixels around it."""

    def make(shape=(4, 5), bands=None, scenes=1, footprint=None, extent=None, job=None, **where):
        grid = GeoBox(shape, where.get("transform", Affine(10, 0, 600000, 0, -10, 5700000)), where.get("crs", 32631))
        bands = bands or {"B2": "uint16"}
        margin = 16
        t = grid.transform * Affine.translation(-margin, -margin)
        own = where.get("own") or (str(grid.crs), tuple(t)[:6], extent or tuple(n + 2 * margin for n in shape))
        made = [
            Scene(
                scene_id=f"S{number}",
                version=1556881381000000 + number,
                time_start=datetime(2019, 5, 3, 10, 56, 21, 750000, tzinfo=UTC) + timedelta(days=number),
                bands=tuple(Band(name, dtype, *own) for name, dtype in bands.items()),
                footprint=footprint,
            )
            for number in range(scenes)
        ]
        job = job or make_job()
        return series.make_series(job, make_images(job, made), list(bands), grid)

    return make


@pytest.fixture
def make_product():
    """Writes a product by rasterio alone, and its row: a folder as a run leaves it, on a grid of any place."""

    def make(
        job, name="farm_20190503T105621", bands=None, valid=None, grid=None, time="2019-05-03T10:56:21+00:00", **row
    ):
        bands = bands or {"B4": np.arange(48, dtype="uint16").reshape(6, 8), "B8": np.full((6, 8), 7, "uint16")}
        values = np.stack(list(bands.values()))
        valid = np.ones(values.shape[1:], bool) if valid is None else valid
        grid = grid or GeoBox(values.shape[1:], Affine(10, 0, 600000, 0, -10, 5700000), "EPSG:32631")
        keep_grid(job, load_aoi(job.aoi), grid)
        path, nodata = job.folder / f"{name}.tif", float("nan") if values.dtype.kind == "f" else 65535
        profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
        where = {"crs": rasterio.CRS.from_wkt(grid.crs.to_wkt()), "transform": grid.transform, "nodata": nodata}
        with rasterio.open(path, "w", driver="GTiff", **profile, **where) as raster:
            raster.write(np.where(valid, values, nodata).astype(values.dtype))
            raster.descriptions = tuple(bands)
            raster.update_tags(COLLECTION=job.collection, JOB_HASH=job.content_hash(), GRID_HASH=grid_hash(grid))
        entry = Entry(
            **{
                "product_id": name,
                "path": path.name,
                "key": f"key of {name}",
                "scene_ids": ("S0",),
                "versions": (1,),
                "time_start": time,
                "time_end": time,
                "grid_hash": grid_hash(grid),
                "job_hash": job.content_hash(),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "size": path.stat().st_size,
                "valid_pixels": int(valid.sum()),
                "masked_pixels": int((~valid).sum()),
                "missed_pixels": 0,
                "clipped_pixels": 0,
                "written_at": "2026-01-01T00:00:00+00:00",
                **row,
            }
        )
        Ledger(job.folder).record(entry)
        return entry

    return make
