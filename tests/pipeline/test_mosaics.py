"""Days and whole collections as one image, on any grid: every pixel by an independent mosaic, through both transports.

A pass near 6 degrees east is served from files: granules in two UTM zones that overlap, with pixels masked by band, the
swath's edge, and one granule that was processed twice.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from eeflow.aoi import load_aoi
from eeflow.blocks import BlockStore
from eeflow.errors import GridError
from eeflow.fetch import Control, fetch_batch
from eeflow.grid import build_grid, crs_name
from eeflow.gridfile import keep_grid
from eeflow.jobfile import parse_job
from eeflow.judge import JUDGED_NOTHING, judged_images
from eeflow.plan import make_plan, outline
from eeflow.presets import with_preset
from eeflow.raster import tiles
from eeflow.recipe import make_recipe
from eeflow.scenes import find_scenes, native_lattice
from eeflow.series import make_series
from eeflow.session import connect
from eeflow.settings import Settings
from eelocal import LocalEarthEngine
from flows.planning import describe, draft

SOURCE = "COPERNICUS/S2_SR_HARMONIZED"
BOTH = ("get_region", "compute_pixels")
LEFT, TOP = 714_000, 5_544_000  # of the first granule, in zone 31
# Bands by pixel size; all of one dtype but the classes.
SIZES = {10: ("B4", "B8"), 20: ("B5", "SCL"), 60: ("B1",)}
# Tile, time, processed, zone, left and top (in zone 31), how much the swath's edge cuts off; in the order of times.
GRANULES = {
    "20230601T100000_west": ("31UGR", "10:00:00", "20230601T150000", 31, LEFT, TOP, 0.5),
    "20230601T100000_west_again": ("31UGR", "10:00:00", "20240101T150000", 31, LEFT, TOP, 0.5),
    "20230601T100004_east": ("31UHR", "10:00:04", "20230601T150000", 31, LEFT + 360, TOP - 120, 0.0),
    "20230601T100009_zone32": ("32ULA", "10:00:09", "20230601T150000", 32, LEFT + 500, TOP - 130, 0.3),
}
SIDE = 60  # of granules, in pixels of 10 m
AREA = [LEFT + 30, TOP - 640, LEFT + 990, TOP - 20]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The files by scene and band, as (values, transform, crs), and a local Earth Engine that serves them."""
    root, rng, files, rows = tmp_path_factory.mktemp("pass"), np.random.default_rng(5), {}, []
    to_zone32 = pyproj.Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True)
    for scene, (tile, time, processed, zone, *corner, masked) in GRANULES.items():
        left, top = corner if zone == 31 else (round(v, -1) for v in to_zone32.transform(*corner))
        for size, bands in SIZES.items():
            side = SIDE * 10 // size
            values = rng.integers(1, 10_000, (len(bands), side, side)).astype("uint16")
            values[rng.random(values.shape) < 0.15] = 0  # masked, each band elsewhere
            down, right = np.indices((side, side)) / side
            values[:, down + right < masked] = 0  # beyond the swath
            if "SCL" in bands:
                values[1] %= 12
            transform, crs = Affine(size, 0, left, 0, -size, top), f"EPSG:326{zone}"
            profile = {"count": len(bands), "height": side, "width": side, "dtype": "uint16", "nodata": 0}
            with rasterio.open(
                root / f"{scene}_{size}m.tif", "w", driver="GTiff", transform=transform, crs=crs, **profile
            ) as raster:
                raster.write(values)
                raster.descriptions = bands
            files |= {(scene, band): (values[n], transform, crs) for n, band in enumerate(bands)}
        rows.append({"file": f"{scene}_10m.tif", "time": f"2023-06-01T{time}Z", "tile": tile, "processed": processed})
    (root / "scenes.json").write_text(json.dumps(rows))
    entry = {
        "id": SOURCE,
        "folder": ".",
        "scene": r"(.+)_\d+m\.tif$",
        "time": "time",
        "table": {"file": "scenes.json"},
        "image_properties": {
            "MGRS_TILE": "{tile}",
            "GENERATION_TIME": "{processed}",
            "SPACECRAFT_NAME": "Sentinel-2A",
            "SENSING_ORBIT_NUMBER": 8,
        },
    }
    (root / "eelocal.json").write_text(json.dumps({"collections": [entry]}))
    with LocalEarthEngine(data=[root], world=False) as engine:
        yield files, engine


def job_of(tmp_path, **changes):
    return parse_job(
        {
            "name": "pass",
            "aoi": {"bbox": AREA, "crs": "EPSG:32631"},
            "collection": SOURCE,
            "bands": ["B4", "B8"],
            "dates": {"start": "2023-06-01", "end": "2023-06-02"},
            "product": {"kind": "day"},
            "output": {"root": str(tmp_path / "data")},
            **changes,
        }
    )


def fetched(engine, job, folder):
    """The series of a job, and by image its values, validity and what was seen, the same by both transports."""
    session, aoi, job = connect(Settings(ee_url=engine.url, _env_file=None)), load_aoi(job.aoi), with_preset(job)
    scenes = find_scenes(session, job, aoi)
    bands, recipe = make_recipe(job, scenes)
    images = judged_images(job, scenes, JUDGED_NOTHING, aoi.lonlat.centroid.x)
    grid = keep_grid(job, aoi, build_grid(job.grid, aoi, native_lattice(recipe.own(bands), scenes)))
    series = make_series(job, images, bands, grid, recipe)
    by = {}
    for transport in BOTH:
        plan = make_plan(job.model_copy(update={"transport": transport}), series, outline(job, aoi, grid))
        store = BlockStore(folder / transport)
        fetch_batch(session, series, plan.requests, store, Control())
        by[transport] = {}
        for product in plan.products:
            (tile,) = tiles(plan, product, store)
            by[transport][product.image.image_id] = tile
    for image_id, one in by["get_region"].items():
        other = by["compute_pixels"][image_id]
        assert one.values.dtype == other.values.dtype
        assert one.values.tobytes() == other.values.tobytes()
        np.testing.assert_array_equal(one.valid, other.valid)
        np.testing.assert_array_equal(one.seen, other.seen)
    return series, by["get_region"]


def at_centres(grid, transform, crs):
    """Column and row, fractional, of a grid's pixel centres in a file's pixels."""
    rows, cols = np.indices(grid.shape)
    x, y = grid.transform @ (cols + 0.5, rows + 0.5)
    to_file = transformer(crs_name(grid), str(crs))
    return ~transform @ tuple(np.asarray(v) for v in to_file.transform(x, y))


@cache
def transformer(crs, to):
    return pyproj.Transformer.from_crs(crs, to, always_xy=True)


def nearest(file, grid):
    values, transform, crs = file
    cols, rows = (np.floor(v).astype(int) for v in at_centres(grid, transform, crs))
    inside = (cols >= 0) & (rows >= 0) & (cols < values.shape[1]) & (rows < values.shape[0])
    found = np.zeros(grid.shape, values.dtype)
    found[inside] = values[rows[inside], cols[inside]]
    return found, found != 0


def bilinear(file, grid):
    """Each of the four neighbours by its distance, those without a value left out; valid where the nearest is."""
    values, transform, crs = file
    cols, rows = at_centres(grid, transform, crs)
    framed = np.pad(values.astype(float), 2)
    total, weights = np.zeros(grid.shape), np.zeros(grid.shape)
    for dy in (0, 1):
        for dx in (0, 1):
            c, r = np.floor(cols - 0.5) + dx, np.floor(rows - 0.5) + dy
            there = framed[
                np.clip(r + 2, 0, framed.shape[0] - 1).astype(int), np.clip(c + 2, 0, framed.shape[1] - 1).astype(int)
            ]
            weight = (1 - abs(cols - 0.5 - c)) * (1 - abs(rows - 0.5 - r)) * (there != 0)
            total, weights = total + weight * there, weights + weight
    valid = nearest(file, grid)[1]
    return np.where(valid, total / np.where(weights, weights, 1), 0).astype("float32"), valid


def mosaic(files, scenes, band, grid, read=nearest):
    """Later scenes over earlier ones, wherever they have a value."""
    values, valid = read(files[scenes[0], band], grid)
    for scene in scenes[1:]:
        above, there = read(files[scene, band], grid)
        values, valid = np.where(there, above, values), valid | there
    return values, valid


ORDER = ["20230601T100000_west_again", "20230601T100004_east", "20230601T100009_zone32"]
OWN = {"transform": [12, 0, LEFT + 305, 0, -15, TOP + 50]}
GRIDS = {
    "native": {},
    "3035": {"crs": "EPSG:3035", "resolution": 13},
    "degrees": {"crs": "EPSG:4326"},
    "zone 32": {"crs": "EPSG:32632"},
    "larger": {"crs": "EPSG:32631", **OWN, "shape": [90, 110]},
    "smaller": {**OWN, "shape": [30, 30]},
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_pass_is_one_image_on_any_grid(world, tmp_path, name):
    files, engine = world
    series, images = fetched(engine, job_of(tmp_path, grid=GRIDS[name]), tmp_path)
    ((image_id, tile),) = images.items()
    assert image_id == "20230601_Sentinel-2A_8"
    assert [scene.scene_id for scene in series.image(image_id).scenes] == ORDER
    if name in ("larger", "smaller"):
        assert list(series.grid.transform)[:6] == OWN["transform"]
        assert list(series.grid.shape) == GRIDS[name]["shape"]
    layers = np.zeros(series.grid.shape, int)
    for number, band in enumerate(("B4", "B8")):
        values, valid = mosaic(files, ORDER, band, series.grid)
        np.testing.assert_array_equal(tile.valid[number], valid)
        np.testing.assert_array_equal(tile.values[number], values)
        layers = np.maximum(layers, sum(nearest(files[scene, band], series.grid)[1].astype(int) for scene in ORDER))
    assert (layers > 1).sum() > 100
    assert (tile.valid[0] != tile.valid[1]).any()
    assert tile.values.dtype == np.uint16
    assert 0.2 < tile.valid.mean() < 0.97


def test_a_grid_larger_than_the_area_shows_all_scenes_that_meet_it(world, tmp_path):
    """The area lies where the eastern granule is alone; clipped to it, the others have nothing to show."""
    files, engine = world
    area = {"bbox": [LEFT + 370, TOP - 700, LEFT + 400, TOP - 620], "crs": "EPSG:32631"}
    series, images = fetched(engine, job_of(tmp_path, aoi=area, grid=GRIDS["larger"]), tmp_path)
    ((image_id, tile),) = images.items()
    assert [scene.scene_id for scene in series.image(image_id).scenes] == ORDER
    values, valid = mosaic(files, ORDER, "B4", series.grid)
    np.testing.assert_array_equal(tile.valid[0], valid)
    np.testing.assert_array_equal(tile.values[0], values)
    clipped = job_of(tmp_path, name="clipped", aoi=area | {"clip": True}, grid=GRIDS["larger"])
    series, images = fetched(engine, clipped, tmp_path / "clipped")
    ((image_id, _),) = images.items()
    assert [scene.scene_id for scene in series.image(image_id).scenes] == [ORDER[1]]


@pytest.mark.parametrize("grid", [{"resolution": 7}, {"crs": "EPSG:3035", "resolution": 25}], ids=["finer", "coarser"])
def test_bilinear_is_of_continuous_bands_before_they_are_merged(world, tmp_path, grid):
    files, engine = world
    job = job_of(tmp_path, bands=["B4", "SCL", "B5"], grid={**grid, "resampling": "bilinear"})
    series, images = fetched(engine, job, tmp_path)
    assert {band.name: band.dtype for band in series.bands} == {"B4": "float32", "SCL": "uint16", "B5": "float32"}
    ((_, tile),) = images.items()
    for number, band in enumerate(("B4", "SCL", "B5")):
        values, valid = mosaic(files, ORDER, band, series.grid, nearest if band == "SCL" else bilinear)
        np.testing.assert_array_equal(tile.valid[number], valid)
        np.testing.assert_allclose(tile.values[number], values, rtol=1e-5)
    assert (tile.values[0] != np.rint(tile.values[0])).mean() > 0.3


def test_bands_of_other_sizes_and_single_scenes_are_taken_by_the_nearest_pixel(world, tmp_path):
    files, engine = world
    job = job_of(tmp_path, bands=["B1", "B8", "SCL", "B5"], product={"kind": "scene"})
    series, images = fetched(engine, job, tmp_path)
    assert series.grid.transform.a == 10
    assert sorted(images) == sorted(GRANULES)  # seconds apart, and a reprocessing: scenes all the same
    for scene, tile in images.items():
        for number, band in enumerate(job.bands):
            values, valid = nearest(files[scene, band], series.grid)
            np.testing.assert_array_equal(tile.valid[number], valid)
            np.testing.assert_array_equal(tile.values[number], values)


def test_a_grid_away_from_the_area_is_refused_and_another_grid_is_another_series(world, tmp_path):
    _, engine = world
    away = {"crs": "EPSG:32631", "transform": [10, 0, LEFT + 2000, 0, -10, TOP], "shape": [50, 50]}
    with pytest.raises(GridError, match=r"grid\.transform and grid\.shape lie at \[716000\.0, .*, away from the area"):
        fetched(engine, job_of(tmp_path, grid=away), tmp_path)
    fetched(engine, job_of(tmp_path), tmp_path)
    fetched(engine, job_of(tmp_path, grid={"resampling": "bilinear"}), tmp_path)
    for change, what in (
        ({"grid": {"crs": "EPSG:3035"}}, "grid options"),
        ({"grid": {"transform": [10, 0, LEFT, 0, -10, TOP], "shape": [50, 50]}}, "grid options"),
        ({"aoi": {"bbox": [*AREA[:3], AREA[3] - 10], "crs": "EPSG:32631"}}, "area"),
    ):
        with pytest.raises(GridError, match=rf"holds a series with another {what}, and one folder keeps one grid"):
            fetched(engine, job_of(tmp_path, **change), tmp_path)


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Drafts a plan against a service, as `eeflow plan --json` prints it, with what it says to people."""

    def plan(engine, **changes):
        monkeypatch.setenv("EEFLOW_EE_URL", engine.url)
        drafted = json.loads(json.dumps(draft(job_of(tmp_path, **changes))))
        return drafted, describe(drafted)

    return plan


@pytest.mark.parametrize(
    ("changes", "names", "bands"),
    [
        ({"product": {"kind": "day"}}, ["pass_20230601"], "B4 (uint16), B8 (uint16)"),
        (
            {"product": {"kind": "scene"}},
            ["pass_20230601T100000", "pass_20230601T100000_2", "pass_20230601T100004", "pass_20230601T100009"],
            "B4 (uint16), B8 (uint16)",
        ),
        (
            {"product": {"kind": "composite"}, "grid": {"resampling": "bilinear"}},
            ["pass_20230601_20230602"],
            "B4 (float64), B8 (float64)",
        ),
    ],
    ids=["day", "scene", "composite"],
)
def test_plan_counts_scenes_and_products(world, planned, changes, names, bands):
    _, engine = world
    drafted, text = planned(engine, grid=GRIDS["3035"] | changes.pop("grid", {}), **changes)
    assert drafted["products"] == names
    assert drafted["scenes"] == 4
    assert drafted["grid"]["crs"] == "EPSG:3035"
    height, width = drafted["grid"]["shape"]
    for cost in drafted["transports"].values():
        assert cost["values"] == height * width * 2 * len(names)
    assert f"{width} x {height} pixels of 13 in EPSG:3035" in text
    assert f"  bands     {bands}\n  scenes    4\n  products  {len(names)}, of which 0 are on disk" in text
    assert "transport get_region: preferred, since compute_pixels is not estimated to be twice as quick" in text


def test_plan_tells_what_is_judged_later_and_asks_for_no_pixels(world, planned):
    _, engine = world
    before = dict(engine.counts)
    product = {"kind": "composite", "method": "least_cloudy", "min_valid_fraction": 0.5}
    drafted, text = planned(engine, product=product, clouds={"method": "scl", "max_fraction": 0.2})
    later = [
        "of 4 scenes, those with cloud over more than 20.0% of the area are left out",
        "products with less than 50.0% valid pixels are not kept",
    ]
    assert drafted["judged_later"] == later
    assert all(f"  later     {line}\n" in text for line in later)
    asked = {kind: count - before.get(kind, 0) for kind, count in engine.counts.items()}
    assert asked.get("getRegion", 0) == asked.get("computePixels", 0) == 0


@pytest.fixture(scope="module")
def generated():
    with LocalEarthEngine() as engine:
        yield engine


def test_elevation_tiles_without_dates_are_one_mosaic(generated, planned, tmp_path):
    """Over the corner of four tiles of a degree, where the generated heights of neighbours meet."""
    tiles_here = {
        "collection": "COPERNICUS/DEM/GLO30",
        "dates": None,
        "product": {},
        "bands": [],
        "aoi": {"bbox": [3.995, 49.994, 4.005, 50.004]},
    }
    drafted, _ = planned(generated, **tiles_here)
    assert (drafted["products"], drafted["scenes"], drafted["bands"]) == (["pass"], 4, {"DEM": "float32"})
    series, images = fetched(generated, job_of(tmp_path, **tiles_here), tmp_path)
    assert list(images) == ["all"]
    assert images["all"].valid.all()
    parts = {}
    for scene in series.images[0].scenes:
        one = tiles_here | {"collection": None, "image": f"COPERNICUS/DEM/GLO30/{scene.scene_id}", "name": "one"}
        one["grid"] = {"transform": list(series.grid.transform)[:6], "shape": list(series.grid.shape)}
        one["output"] = {"root": str(tmp_path / scene.scene_id)}
        ((_, part),) = fetched(generated, job_of(tmp_path, **one), tmp_path / scene.scene_id)[1].items()
        parts[scene.scene_id] = part
    expected = np.zeros(series.grid.shape, "float32")
    for part in parts.values():
        expected = np.where(part.valid[0], part.values[0], expected)
    np.testing.assert_array_equal(images["all"].values[0], expected)
    assert all(0 < part.valid.mean() < 1 for part in parts.values())
    assert np.sum([part.valid[0] for part in parts.values()], axis=0).min() == 1


def test_a_single_image_is_one_product(generated, planned, tmp_path):
    single = {
        "collection": None,
        "image": "USGS/SRTMGL1_003",
        "dates": None,
        "product": {},
        "bands": [],
        "aoi": {"bbox": [3.995, 49.994, 4.005, 50.004]},
    }
    drafted, text = planned(generated, **single)
    assert drafted["products"] == ["pass_20000211T000000"]
    assert "products  1, of which 0 are on disk" in text
    _, images = fetched(generated, job_of(tmp_path, **single), tmp_path)
    ((_, tile),) = images.items()
    assert tile.valid.all()
    assert tile.values.dtype == np.int16


REAL = Path(__file__).parents[3] / "shared" / "data" / "s2_l2a_two_tiles_120m"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real granules are not here")
@pytest.mark.parametrize(
    ("grid", "start", "days"),
    [
        ({}, 1, ["20230810", "20230813", "20230815", "20230818", "20230820"]),
        ({"crs": "EPSG:3035", "resolution": 150}, 19, ["20230820"]),
    ],
    ids=["native", "3035"],
)
def test_real_granules_of_two_tiles_become_days(tmp_path, grid, start, days):
    job = job_of(
        tmp_path,
        collection=REAL.name,
        bands=[],
        dates={"start": f"2023-08-{start:02}", "end": "2023-09-01"},
        aoi={"bbox": [500_040, 5_094_000, 510_000, 5_107_800], "crs": "EPSG:32633"},
        grid=grid,
    )
    with LocalEarthEngine(data=[REAL], world=False) as engine:
        series, images = fetched(engine, job, tmp_path)
    assert sorted(images) == days
    for day, tile in images.items():
        files = {}
        for scene in series.image(day).scenes:
            with rasterio.open(REAL / f"{scene.scene_id}.tif") as raster:
                files |= {(scene.scene_id, n): (raster.read(n), raster.transform, raster.crs) for n in range(1, 5)}
        for number in range(4):
            values, valid = mosaic(files, sorted({scene for scene, _ in files}), number + 1, series.grid)
            np.testing.assert_array_equal(tile.valid[number], valid)
            np.testing.assert_array_equal(tile.values[number], values)
    assert min(tile.valid.mean() for tile in images.values()) < 0.99


def test_beyond_the_swath_both_transports_find_no_data(generated, tmp_path):
    """A generated granule whose footprint ends within the area: pixels beyond are not there, not masked."""
    job = job_of(
        tmp_path,
        aoi={"bbox": [4.105, 50.526, 4.125, 50.546]},
        filters={"MGRS_TILE": {"eq": "31UER"}},
        product={"kind": "scene"},
    )
    _, images = fetched(generated, job, tmp_path)
    ((_, tile),) = images.items()
    assert 0.4 < tile.seen.mean() < 0.6
    assert not (tile.valid & ~tile.seen).any()
