"""The one grid of a series, kept beside its products."""

import json

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from eeflow.aoi import load_aoi
from eeflow.errors import GridError
from eeflow.grid import grid_hash
from eeflow.gridfile import keep_grid, read_area, read_grid

GRID = GeoBox((4, 5), Affine(10, 0, 600000, 0, -10, 5700000), "EPSG:32631")
TO_UTM = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
LATER = GeoBox((4, 5), Affine(10, 0, 600005, 0, -10, 5700000), "EPSG:32631")


def keep(job, grid):
    return keep_grid(job, load_aoi(job.aoi), grid)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        GeoBox((4, 5), Affine(1 / 3600, 0, -180.0001388888889, 0, -1 / 3600, 60.00013888888889), "EPSG:4326"),
        GeoBox((4, 5), Affine(231.65635826395825, 0, -5e6, 0, -231.65635826395834, -1e6), "+proj=sinu +R=6371007.181"),
        GeoBox((4, 5), Affine(10, 0, 0, 0, -10, 0), "+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80 +units=m"),
    ],
    ids=["UTM", "degrees", "MODIS", "custom"],
)
def test_grid_comes_back_bit_for_bit(make_job, grid):
    assert keep(make_job(), grid) == grid
    again = keep(make_job(), LATER)
    assert tuple(again.transform) == tuple(grid.transform)
    assert again.shape == grid.shape
    assert grid_hash(again) == grid_hash(grid)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"aoi": {"bbox": [4, 50, 5, 52]}}, "area"),
        ({"grid": {"resolution": 20}}, "grid options"),
        ({"collection": "COPERNICUS/S2_SR"}, "collection"),
    ],
)
def test_another_series_in_the_same_folder_is_refused(make_job, changes, what):
    keep(make_job(), GRID)
    with pytest.raises(
        GridError, match=rf"holds a series with another {what}, and one folder keeps one grid\. Give this"
    ):
        keep(make_job(**changes), GRID)


@pytest.mark.parametrize("damage", ["", "{}", "[]", "null", "changed"])
def test_damaged_record_is_refused(make_job, damage):
    job = make_job()
    keep(job, GRID)
    path = job.folder / "grid.json"
    if damage == "changed":
        record = json.loads(path.read_text(encoding="utf-8"))
        record["transform"][2] += 10
        damage = json.dumps(record)
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(GridError, match=r"grid\.json was changed or damaged: its hash does not fit its grid"):
        keep(job, GRID)


def test_area_is_kept_in_longitude_and_latitude_and_none_that_is_damaged_is_read(make_job):
    job = make_job(aoi={"bbox": [599990, 5699970, 600010, 5700000], "crs": "EPSG:32631"})
    keep(job, GRID)
    assert read_grid(job.folder) == GRID
    area = read_area(job.folder)
    projected = shapely.transform(area, lambda xy: np.column_stack(TO_UTM.transform(xy[:, 0], xy[:, 1])))
    np.testing.assert_allclose(projected.bounds, [599990, 5699970, 600010, 5700000], atol=1e-3)
    (job.folder / "area.geojson").write_text("{}")
    assert read_area(job.folder) is None
    assert (read_grid(job.folder / "no"), read_area(job.folder / "no")) == (None, None)
