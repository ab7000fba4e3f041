"""Masks, composites and indices against numpy from the same rasters, by both transports, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import product_scenes as world
import pytest
import rasterio
import spyndex
from product_scenes import BBOX, CRS, L8, S2, SHAPE, STAMPS, TRANSFORM, UNSCORED, scene_id
from rasterio.features import geometry_mask
from shapely.geometry import Polygon, mapping

from eeflow.aoi import load_aoi
from eeflow.blocks import BlockStore
from eeflow.errors import ConfigError
from eeflow.fetch import Control, fetch_batch
from eeflow.grid import Window, build_grid
from eeflow.jobfile import parse_job
from eeflow.judge import JUDGED_NOTHING, is_judged, judge, judged_images
from eeflow.ledger import Ledger
from eeflow.recipe import averaged_classes, make_recipe
from eeflow.scenes import find_scenes, native_lattice
from eeflow.series import Request, make_series
from eeflow.session import connect
from eeflow.settings import Settings
from eelocal import LocalEarthEngine

OF_2021 = STAMPS[:4]
SCORED = [stamp for stamp in OF_2021 if stamp != STAMPS[UNSCORED]]
CLOUDY = {"scl": [3, 8, 9, 10], "qa60": (1 << 10) | (1 << 11), "qa_pixel": 0b11110}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """What the folder's files hold, with a session on a server of them."""
    root = tmp_path_factory.mktemp("scenes")
    truth = world.write_scenes(root)
    with LocalEarthEngine(data=[root], world=False) as engine:
        session = connect(Settings(ee_url=engine.url, _env_file=None))
        yield Scenes(truth, session, engine, tmp_path_factory)


class Scenes:
    def __init__(self, truth, session, engine, folders):
        self.truth, self.session, self.engine, self.folders = truth, session, engine, folders

    def prepare(self, **content):
        """A job's series and the verdict on its scenes."""
        content = {
            "name": "t",
            "aoi": {"bbox": BBOX, "crs": CRS},
            "collection": S2,
            "bands": ["B2", "B4", "B8"],
            "dates": {"start": "2021-06-01", "end": "2021-08-01"},
            "output": {"root": str(self.folders.mktemp("judged"))},
        } | content
        job = parse_job(content)
        aoi = load_aoi(job.aoi)
        found = find_scenes(self.session, job, aoi)
        bands, recipe = make_recipe(job, found)
        judgement = judge(self.session, job, aoi, found) if is_judged(job) else JUDGED_NOTHING
        images = judged_images(job, found, judgement, aoi.lonlat.centroid.x)
        grid = build_grid(job.grid, aoi, native_lattice(recipe.own(bands), found))
        return make_series(job, images, bands, grid, recipe), judgement

    def fetch(self, **content):
        """Blocks by image; both transports' are the same, values, validity and what was seen."""
        series, judgement = self.prepare(**content)
        wanted = tuple(image.image_id for image in series.images if judgement.of(image) is None)
        names, window = tuple(band.name for band in series.bands), Window(0, 0, *series.grid.shape)
        by = []
        for transport in ("get_region", "compute_pixels"):
            store = BlockStore(self.folders.mktemp(transport))
            fetch_batch(self.session, series, [Request(wanted, names, window, transport)], store, Control())
            by.append({image_id: store.load(series.block_key(image_id, names, window)) for image_id in wanted})
        for image_id, left in by[0].items():
            right = by[1][image_id]
            np.testing.assert_array_equal(left.seen, right.seen)
            for name in names:
                assert left.values[name].dtype == right.values[name].dtype == np.dtype(series.band(name).dtype)
                np.testing.assert_array_equal(left.valid[name], right.valid[name], err_msg=name)
                assert left.values[name].tobytes() == right.values[name].tobytes(), name
        return by[0]


def assert_same(block, name, expected, dtype=None):
    """The same pixels are valid, and equal."""
    np.testing.assert_array_equal(block.valid[name], ~np.ma.getmaskarray(expected))
    np.testing.assert_array_equal(block.values[name], expected.filled(0))
    assert block.values[name].dtype == np.dtype(dtype or expected.dtype)


def cloud(bands, method, **options):
    """Where numpy finds cloud, as a masked array."""
    if method == "scl":
        hit = np.isin(bands["SCL"].data, options.get("classes", CLOUDY["scl"]))
        if above := options.get("snow_is_cloud_above"):
            snow = np.ma.masked_array(bands["SCL"].data == 11, bands["SCL"].mask | bands["B2"].mask)
            return np.ma.masked_array(hit, bands["SCL"].mask | bands["B2"].mask) | (snow & (bands["B2"].data > above))
        return np.ma.masked_array(hit, bands["SCL"].mask)
    if method == "cloud-score-plus":
        return bands[options.get("score", "cs_cdf")] < np.float32(options.get("threshold", 0.6))
    name = {"qa60": "QA60", "qa_pixel": "QA_PIXEL"}[method]
    bits = sum(1 << bit for bit in options["bits"]) if "bits" in options else CLOUDY[method]
    return (bands[name] & bits) != 0


def clear(bands, name, method, **options):
    """A band without its cloud."""
    hidden = cloud(bands, method, **options).filled(True)
    return np.ma.masked_array(bands[name].data, bands[name].mask | hidden)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("scl", {}),
        ("scl", {"classes": [11]}),
        ("scl", {"snow_is_cloud_above": 3000}),
        ("qa60", {}),
        ("cloud-score-plus", {}),
        ("cloud-score-plus", {"score": "cs", "threshold": 0.25}),
    ],
)
def test_masks(scenes, method, options):
    stamps = SCORED if method == "cloud-score-plus" else OF_2021
    blocks = scenes.fetch(clouds={"method": method, **options})
    assert list(blocks) == [scene_id(stamp) for stamp in stamps]
    for stamp in stamps:
        for name in ("B2", "B4", "B8"):
            expected = clear(scenes.truth[stamp], name, method, **options)
            assert_same(blocks[scene_id(stamp)], name, expected, "uint16")
    assert any((block.values["B4"] == 0)[block.valid["B4"]].any() for block in blocks.values())  # a valid 0 is one


@pytest.mark.parametrize("options", [{}, {"bits": [3]}, {"bits": [0, 5, 7]}])
def test_masks_of_landsat(scenes, options):
    blocks = scenes.fetch(collection=L8, bands=["SR_B4", "QA_PIXEL"], clouds={"method": "qa_pixel", **options})
    (block,) = blocks.values()
    for name in ("SR_B4", "QA_PIXEL"):
        assert_same(block, name, clear(scenes.truth["landsat"], name, "qa_pixel", **options), "uint16")


def test_no_mask_where_clouds_are_only_judged(scenes):
    blocks = scenes.fetch(clouds={"method": "scl", "mask": False, "max_fraction": 1})
    for stamp in OF_2021:
        assert_same(blocks[scene_id(stamp)], "B4", scenes.truth[stamp]["B4"])


FIELD = Polygon([(600_033, 5_600_011), (600_262, 5_599_957), (600_171, 5_599_828), (600_058, 5_599_871)])


@pytest.mark.parametrize("method", ["scl", "qa60", "cloud-score-plus"])
def test_cloud_is_judged_over_the_polygon_itself(scenes, method):
    """Of the pixels of the band that tells cloud whose centre lies in the polygon; at the limit a scene stays."""
    times = {"scl": 2, "qa60": 6, "cloud-score-plus": 1}[method]
    inside = ~geometry_mask([mapping(FIELD)], tuple(n // times for n in SHAPE), TRANSFORM @ TRANSFORM.scale(times))
    expected = {}
    for stamp in SCORED if method == "cloud-score-plus" else OF_2021:
        found = cloud(scenes.truth[stamp], method)[::times, ::times]
        counted = inside & ~np.ma.getmaskarray(found)
        if counted.any():
            expected[scene_id(stamp)] = float(found.data[counted].mean())
    limit = sorted(expected.values())[1]
    area = {"geojson": mapping(FIELD), "crs": CRS}
    before = scenes.engine.counts.total()
    _, judgement = scenes.prepare(aoi=area, clouds={"method": method, "max_fraction": limit})
    assert scenes.engine.counts.total() - before == (3 if method == "cloud-score-plus" else 2)  # list, (scored), look
    assert judgement.cloud == pytest.approx(expected, abs=1e-12)
    cloudy = {name: refusal for name, refusal in judgement.refusals.items() if refusal.kind == "cloudy"}
    assert set(cloudy) == {name for name, share in expected.items() if share > limit}
    assert len(cloudy) >= 1
    name, refusal = next(iter(cloudy.items()))
    assert f"{expected[name]:.1%} of the area" in refusal.reason


def test_a_scene_without_a_score_is_rejected_with_a_reason(scenes):
    _, judgement = scenes.prepare(clouds={"method": "cloud-score-plus"})
    (name,) = judgement.refusals
    assert name == scene_id(STAMPS[UNSCORED])
    assert judgement.refusals[name].kind == "no_score"
    assert "no Cloud Score+" in judgement.refusals[name].reason


def test_qa60_is_refused_where_it_is_masked_out(scenes):
    before = scenes.engine.counts.total()
    with pytest.raises(ConfigError, match=rf"2022-01-25 to 2024-02-28 .* {scene_id(STAMPS[4])}; take cloud-score-plus"):
        scenes.prepare(dates={"start": "2021-06-01", "end": "2024-01-01"}, clouds={"method": "qa60"})
    assert scenes.engine.counts.total() - before == 1  # the list of scenes


PERIODS = {
    "all": {"20210601_20210801": OF_2021},
    "month": {"202106": OF_2021[:3], "202107": OF_2021[3:]},
    "16d": {"20210601_20210617": OF_2021[:2], "20210617_20210703": OF_2021[2:3], "20210703_20210719": OF_2021[3:]},
}


def merged(bands, method, stack, score="cs_cdf"):
    """What numpy makes of scenes, which are masked arrays by time; `bands` are theirs for what decides."""
    layers = np.ma.stack(stack)
    if method in ("median", "mean", "min", "max"):
        return getattr(np.ma, method)(layers.astype("float64") if method in ("median", "mean") else layers, axis=0)
    if method == "mosaic":
        rank = np.broadcast_to(np.arange(len(stack))[:, None, None], layers.shape).astype("float64")
    elif method == "least_cloudy":
        rank = np.broadcast_to([-cloud(own, "scl").mean() for own in bands], (*SHAPE, len(stack))).transpose(2, 0, 1)
    else:
        rank = np.stack([own[score].filled(-1).astype("float64") for own in bands])
    usable = ~np.ma.getmaskarray(layers) & (rank >= 0 if method == "best_pixel" else True)
    best = np.where(usable, rank, -np.inf).argmax(axis=0)[None]
    values = np.take_along_axis(layers.data, best, 0)[0]
    return np.ma.masked_array(values, ~usable.any(axis=0))


@pytest.mark.parametrize("every", PERIODS)
@pytest.mark.parametrize("method", ["median", "mean", "min", "max", "mosaic", "least_cloudy", "best_pixel"])
def test_composites(scenes, method, every):
    """With clouds masked by SCL first; best_pixel also leaves out the scene that has no score."""
    blocks = scenes.fetch(
        product={"kind": "composite", "method": method, "every": every},
        clouds={"method": "scl"},
        bands=["B4", "B8"],
    )
    for period, stamps in PERIODS[every].items():
        used = [stamp for stamp in stamps if method != "best_pixel" or stamp in SCORED]
        if not used:
            assert period not in blocks
            continue
        truth = [scenes.truth[stamp] for stamp in used]
        for name in ("B4", "B8"):
            expected = merged(truth, method, [clear(own, name, "scl") for own in truth])
            assert_same(blocks[period], name, expected, "float64" if method in ("median", "mean") else "uint16")


RATIO = "NDVI = normalized_difference(B8, B4)"


def ratio(bands, a="B8", b="B4"):
    """Normalised difference as Earth Engine works it out: in doubles, 0 where it divides by 0."""
    one, other = bands[a].astype("float64"), bands[b].astype("float64")
    total = (one + other).data
    return np.ma.masked_array((one - other).data / np.where(total == 0, 1, total), (one + other).mask)


def evi(bands):
    physical = {name: bands[name].astype("float64") * 0.0001 for name in ("B2", "B4", "B8")}
    blue, red, near = physical.values()
    return 2.5 * (near - red) / (near + 6 * red - 7.5 * blue + 1)


INDICES = {
    RATIO: ("NDVI", ratio),
    "NDVI": ("NDVI", ratio),
    "EVI": ("EVI", evi),
    "x = (B8 - 2 * B4) / 1000 + 0.5": ("x", lambda bands: (bands["B8"] * 1.0 - 2.0 * bands["B4"]) / 1000 + 0.5),
    "much = B8 * B8 * B4 * B2": (
        "much",
        lambda bands: bands["B8"].astype("float64") ** 2 * bands["B4"] * bands["B2"],
    ),
    "root = (B8 - B4) ** 0.5": (
        "root",
        lambda bands: np.ma.sqrt(bands["B8"].astype("float64") - bands["B4"]),  # masked where there is none
    ),
    "y = -(B2 ** 2) + 3": ("y", lambda bands: -(bands["B2"].astype("float64") ** 2) + 3),
    "z = normalized_difference(B8 + 1, B4 * 2)": (
        "z",
        lambda bands: ratio({"a": bands["B8"].astype(int) + 1, "b": bands["B4"].astype(int) * 2}, "a", "b"),
    ),
}


def close(block, name, expected):
    """32-bit floats of the same pixels; formulas are worked out in doubles here, as Earth Engine likes there."""
    np.testing.assert_array_equal(block.valid[name], ~np.ma.getmaskarray(expected))
    assert block.values[name].dtype == np.float32
    np.testing.assert_allclose(block.values[name], expected.filled(0).astype("float32"), rtol=1e-5, atol=1e-6)


def test_indices_stand_where_the_job_lists_them(scenes):
    formulas = [text for text in INDICES if text != "NDVI"]
    bands = [formulas[0], "B8", *formulas[1:], "B4"]
    series, _ = scenes.prepare(bands=bands)
    assert [band.name for band in series.bands] == ["NDVI", "B8", "EVI", "x", "much", "root", "y", "z", "B4"]
    blocks = scenes.fetch(bands=bands, clouds={"method": "scl"})
    for stamp in OF_2021:
        block, hidden = blocks[scene_id(stamp)], cloud(scenes.truth[stamp], "scl").filled(True)
        assert_same(block, "B8", clear(scenes.truth[stamp], "B8", "scl"))
        for text in formulas:
            name, formula = INDICES[text]
            values = formula(scenes.truth[stamp])
            close(block, name, np.ma.masked_array(values.data, np.ma.getmaskarray(values) | hidden))


def test_named_indices_are_those_of_spyndex_over_reflectances(scenes):
    blocks = scenes.fetch(bands=["NDVI", "EVI", "SAVI"])
    for stamp in OF_2021:
        own, block = scenes.truth[stamp], blocks[scene_id(stamp)]
        parts = {"N": own["B8"] * 1e-4, "R": own["B4"] * 1e-4, "B": own["B2"] * 1e-4}
        constants = {"g": 2.5, "C1": 6.0, "C2": 7.5, "L": 1.0}
        close(block, "EVI", spyndex.computeIndex("EVI", params=parts | constants))
        close(block, "SAVI", spyndex.computeIndex("SAVI", params=parts | {"L": 1.0}))
        close(block, "NDVI", ratio(own))


def test_composites_of_indices(scenes):
    """The median of each scene's index, not the index of medians; beside bands, which keep their own."""
    content = {"bands": ["B4", RATIO, "EVI"], "clouds": {"method": "scl"}}
    blocks = scenes.fetch(product={"kind": "composite", "every": "month"}, **content)
    for period, stamps in PERIODS["month"].items():
        stacks = {"NDVI": [], "EVI": []}
        for own in (scenes.truth[stamp] for stamp in stamps):
            hidden = cloud(own, "scl").filled(True)
            for name, values in (("NDVI", ratio(own)), ("EVI", evi(own))):
                masked = np.ma.getmaskarray(values) | hidden
                stacks[name].append(np.ma.masked_array(values.data.astype("float32"), masked))
        for name, stack in stacks.items():
            expected = np.ma.median(np.ma.stack(stack).astype("float64"), axis=0)
            np.testing.assert_array_equal(blocks[period].valid[name], ~np.ma.getmaskarray(expected))
            np.testing.assert_allclose(blocks[period].values[name], expected.filled(0), rtol=1e-5, atol=1e-6)


def test_an_average_of_classes_is_made_with_a_warning(scenes):
    def warnings(method):
        job = parse_job(
            {
                "name": "t",
                "aoi": {"bbox": BBOX, "crs": CRS},
                "collection": S2,
                "bands": ["B4", RATIO, "SCL", "QA60"],
                "dates": {"start": "2021-06-01", "end": "2021-08-01"},
                "product": {"kind": "composite", "method": method},
            }
        )
        return averaged_classes(job, find_scenes(scenes.session, job, load_aoi(job.aoi)))

    (text,) = warnings("median")
    assert text.startswith("product.method is median, and SCL, QA60 holds classes or flags, of which a median is none;")
    assert warnings("mosaic") == []


@pytest.mark.parametrize("score", ["cs", "cs_cdf"])
def test_the_best_pixel_of_each_band_is_that_of_the_score_asked_for(scenes, score):
    """Whether scenes are masked or not, and by whatever."""
    product = {"kind": "composite", "method": "best_pixel"}
    (best,) = scenes.fetch(product=product, clouds={"score": score}, bands=[RATIO, "B4"]).values()
    truth = [scenes.truth[stamp] for stamp in SCORED]
    close(best, "NDVI", merged(truth, "best_pixel", [ratio(own) for own in truth], score))
    assert_same(best, "B4", merged(truth, "best_pixel", [own["B4"] for own in truth], score))


@pytest.mark.parametrize(
    ("bands", "says"),
    [
        (["NDVI = normalized_difference(B8, B77)"], "'B77', which matches no band"),
        (["NDVI = normalized_difference(B8)"], "no formula of band names"),
        (["x = B8 / exp(B4)"], "no formula of band names"),
        (["x = B8 if B4 else 1"], "no formula of band names"),
        (["x = 3 + 4"], "names no band"),
        (["B4", "B4 = B8 - B2"], "a band B4 already; give it another name"),
        (["NDVI", RATIO], "a band NDVI already; give it another name"),
        (["2x = B8"], "letters, digits and underscores"),
        (["NDSI"], "B3', which matches no band"),
        (["NDVY"], "'NDVY', which matches no band"),
    ],
)
def test_refused_before_any_pixel(scenes, bands, says):
    before = scenes.engine.counts.total()
    with pytest.raises(ConfigError, match=says):
        scenes.prepare(bands=bands)
    assert scenes.engine.counts.total() - before == 1


def test_flags_that_scenes_do_not_have(scenes):
    with pytest.raises(ConfigError, match="scl needs the band SCL, which scene LC08_193030_20210603 does not have"):
        scenes.prepare(collection=L8, bands=["SR_B4"], clouds={"method": "scl"})


def test_a_late_scene_joins_its_composite_and_nothing_else_changes(prefect_environment, tmp_path):
    """As a user does it: the same command again, when the provider has one scene more."""
    root = tmp_path / "scenes"
    root.mkdir()
    truth = world.write_scenes(root)
    job = {
        "name": "farm",
        "aoi": {"bbox": BBOX, "crs": CRS},
        "collection": S2,
        "bands": ["B4", "NDVI"],
        "dates": {"start": "2021-06-01", "end": "2021-08-01"},
        "product": {"kind": "composite", "every": "month"},
        "clouds": {"method": "scl", "max_fraction": 0.59},
        "output": {"root": str(tmp_path)},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    shares = {stamp: cloud(truth[stamp], "scl")[::2, ::2].mean() for stamp in (*OF_2021, world.LATE)}
    assert [stamp for stamp, share in shares.items() if share > 0.59] == [STAMPS[0]]

    def command(engine, *words):
        environment = prefect_environment | {"EEFLOW_EE_URL": engine.url}
        eeflow = [Path(sys.executable).parent / "eeflow", words[0], tmp_path / "job.yaml", "--json", *words[1:]]
        done = subprocess.run(eeflow, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(engine, *words):
        products = command(engine, "run", *words)["products"]
        return {Path(product["path"]).name: product["status"] for product in products}

    def left_out():
        return {row.path: dict(row.left_out) for row in Ledger(tmp_path / "farm").entries()}

    def june(stamps):
        with rasterio.open(tmp_path / "farm" / "farm_202106.tif") as raster:
            assert (raster.descriptions, raster.dtypes) == (("B4", "NDVI"), ("float64", "float64"))
            found = raster.read(1, masked=True)
        expected = merged([], "median", [clear(truth[stamp], "B4", "scl") for stamp in stamps])
        np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
        np.testing.assert_array_equal(found.filled(0), expected.filled(0))

    with LocalEarthEngine(data=[root], world=False) as engine:
        assert run(engine) == {"farm_202106.tif": "written", "farm_202107.tif": "written"}
    june(STAMPS[1:3])
    why = f"cloud over {shares[STAMPS[0]]:.1%} of the area; clouds.max_fraction is 59.0%"
    assert left_out() == {"farm_202106.tif": {scene_id(STAMPS[0]): why}, "farm_202107.tif": {}}
    july = (tmp_path / "farm" / "farm_202107.tif").stat().st_mtime_ns
    world.add_late_scene(root)
    with LocalEarthEngine(data=[root], world=False) as engine:
        assert run(engine) == {"farm_202106.tif": "written", "farm_202107.tif": "present"}
        asked = engine.counts["value:compute"]
        stricter = command(engine, "plan", "--set", "clouds.max_fraction=0.5925")  # which leaves out the same scene
        assert (stricter["present"], stricter["refused"], stricter["judged_later"]) == (2, 0, [])
        assert engine.counts["value:compute"] == asked + 1, "the list"
        assert set(run(engine, "--set", "clouds.max_fraction=0.5925").values()) == {"present"}
    assert left_out()["farm_202106.tif"] == {scene_id(STAMPS[0]): why.replace("59.0%", "59.2%")}
    june([*STAMPS[1:3], world.LATE])
    assert (tmp_path / "farm" / "farm_202107.tif").stat().st_mtime_ns == july
    assert len(list((tmp_path / "farm").glob("*.tif"))) == 2
    assert asked == 3, engine.counts  # the list, the late scene's cloud, June's pixels
