"""Products from another service than eelocal, written from Earth Engine's descriptions: pixels as numpy has them."""

import dataclasses

import numpy as np
import pytest
import rasterio
import yaml
from coded_service import CodedService
from coded_world import CodedCollection, make_collection
from pixel_check import expected_pixels
from test_every_pixel_in_place import run_all, ways

from eeflow.ledger import Ledger

SOURCE, SCORES = "CODED/PASSES", "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
LEFT, TOP = 600_000, 5_600_040
TIMES = (
    "2023-06-01T10:30:15Z",  # a pass of two granules that overlap
    "2023-06-01T10:30:29Z",
    "2023-06-11T10:30:17Z",
    "2023-06-21T10:30:19Z",
    "2023-07-01T10:30:21Z",
)
CORNERS = [(LEFT, TOP), (LEFT + 310, TOP - 240), (LEFT, TOP), (LEFT - 100, TOP + 50), (LEFT + 50, TOP)]
DTYPES = {"A": "uint16", "B": "uint16", "S": "int16", "QA_PIXEL": "uint16"}
UNSCORED = 3
AREA = [LEFT + 40, TOP - 560, LEFT + 560, TOP - 60]  # 52 x 50 pixels


def make_scenes(name, dtypes, mask):
    made = make_collection(
        name, "EPSG:32631", (10, 0, LEFT, 0, -10, TOP), (60, 62), dtypes, TIMES, origins=CORNERS, mask=mask
    )
    orbit = {"SPACECRAFT_NAME": "Coded-1", "SENSING_ORBIT_NUMBER": 8}
    return [
        dataclasses.replace(scene, properties=scene.properties | orbit | {"MGRS_TILE": scene.properties["TILE"]})
        for scene in made.scenes
    ]


SCENES = make_scenes(SOURCE, DTYPES, "per_band")
SCORED = make_scenes(SCORES, {"cs": "float32", "cs_cdf": "int16"}, "shared")
COLLECTIONS = [
    CodedCollection(SOURCE, tuple(SCENES)),
    CodedCollection(SCORES, tuple(scene for scene in SCORED if scene.number != UNSCORED)),
]
PERIODS = {
    "all": {"20230601_20230801": [0, 1, 2, 3, 4]},
    "month": {"202306": [0, 1, 2, 3], "202307": [4]},
    "20d": {"20230601_20230621": [0, 1, 2], "20230621_20230711": [3, 4]},
}
INDICES = [
    "ND = normalized_difference(S, A)",
    "RATIO = (A - B) / (A + B * 2 - 30000)",
    "ROOT = (S + 0.5) ** 0.5",
]
QA = {"method": "qa_pixel", "bits": [3, 7]}
CSP = {"method": "cloud-score-plus"}


def composite(method, every, bands=("A", "S"), **more):
    return {"product": {"kind": "composite", "method": method, "every": every}, "bands": list(bands), **more}


def least_clear():
    """The cloudiest of the scenes, by QA_PIXEL over the area alone, and a limit that only it exceeds."""
    cols, rows = np.meshgrid(np.arange(AREA[0] + 5, AREA[2], 10.0), np.arange(AREA[3] - 5, AREA[1], -10.0))
    shares = []
    for scene in SCENES:
        values, valid, _ = scene.sample("QA_PIXEL", cols, rows, "EPSG:32631")
        shares.append(((values[valid] & 0b10001000) != 0).mean())
    worst, next_worst = sorted(shares)[:-3:-1]
    return shares.index(worst), float(worst + next_worst) / 2


WORST, LIMIT = least_clear()
JOBS = {
    "median": composite("median", "month", clouds=QA | {"max_fraction": LIMIT}),
    "mean": composite("mean", "20d", clouds=CSP),
    "min": composite("min", "all"),
    "max": composite("max", "month", clouds=QA),
    "best": composite("best_pixel", "all"),
    "index-median": composite("median", "month", bands=["A", *INDICES[:2]]),
    "day": {"product": {"kind": "day"}, "bands": ["B", "S"], "clouds": QA},
    "indices": {"bands": ["B", *INDICES], "clouds": CSP},
}
WAYS = ways(JOBS)


@pytest.fixture(scope="module")
def service():
    with CodedService(COLLECTIONS, shuffle=5) as running:
        yield running
        assert not running.unknown


@pytest.fixture(scope="module")
def written(service, prefect_environment, tmp_path_factory):
    """Folders of products, by transport and job; a transport's runs share a process."""
    folder = tmp_path_factory.mktemp("coded-products")
    paths = {}
    for name, content in JOBS.items():
        job = {
            "name": name,
            "aoi": {"bbox": AREA, "crs": "EPSG:32631"},
            "collection": SOURCE,
            "dates": {"start": "2023-06-01", "end": "2023-08-01"},
            "output": {"quicklook": False, "stac": False},
        }
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(yaml.safe_dump(job | content))
    found = run_all(folder, paths, WAYS, service, prefect_environment)
    assert all(outcome.code in (0, None) for outcome in found.values()), [outcome.stderr for outcome in found.values()]
    return lambda transport, name: found[transport, name].folder


class Bands:
    """What lies in a written file's pixels, scene by scene, as masked arrays of 64-bit floats."""

    def __init__(self, source, clouds=None):
        self.source, self.clouds = source, clouds

    def band(self, number, name, scenes=SCENES):
        values, valid = expected_pixels(self.source, scenes[number], name)
        return np.ma.masked_array(values.astype("float64"), ~valid)

    def clear(self, number, name):
        """A band, or an index worked out in doubles and kept in 32 bits, without its cloud."""
        found = self.index(number, name) if name in ("ND", "RATIO", "ROOT") else self.band(number, name)
        if self.clouds == "qa_pixel":
            flags = self.band(number, "QA_PIXEL")
            hidden = np.ma.getmaskarray(flags) | ((flags.data.astype(int) & 0b10001000) != 0)
        elif self.clouds == "cloud-score-plus":
            hidden = (self.band(number, "cs_cdf", SCORED) < 0.6).filled(True)
        else:
            return found
        return np.ma.masked_array(found.data, np.ma.getmaskarray(found) | hidden)

    def index(self, number, name):
        a, b, s = (self.band(number, band) for band in "ABS")
        if name == "ND":
            both = np.ma.masked_array((s + a).data, np.ma.getmaskarray(s + a) | (s.data < 0))
            return _divided((s - a).data, both).astype("float32")
        if name == "RATIO":
            return _divided((a - b).data, a + b * 2 - 30000).astype("float32")
        return np.ma.masked_array(np.sqrt(np.abs(s.data + 0.5)), s.mask | (s.data < 0)).astype("float32")


def _divided(over, under):
    """Earth Engine's division: 0 where it is by 0."""
    values = np.divide(over, under.data, out=np.zeros(over.shape), where=under.data != 0)
    return np.ma.masked_array(values, np.ma.getmaskarray(under))


def merged(stack, method, scores=None):
    """One masked array of those of several scenes, pixel by pixel."""
    stack = np.ma.stack(stack)
    if method in ("median", "mean", "min", "max"):
        return getattr(np.ma, method)(stack, axis=0)
    mask = np.ma.getmaskarray(stack)
    rank = np.broadcast_to(np.arange(len(stack))[:, None, None], stack.shape) if scores is None else np.ma.stack(scores)
    usable = ~mask & ~np.ma.getmaskarray(rank)
    best = np.where(usable, np.ma.getdata(rank).astype(float), -np.inf).argmax(0)[None]
    return np.ma.masked_array(np.take_along_axis(stack.data, best, 0)[0], ~usable.any(0))


def products(folder):
    """Open rasters by what their name says after the job's."""
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as source:
            yield path.stem.removeprefix(f"{folder.name}_"), source


def assert_holds(source, expected):
    """The file's bands are these masked arrays; `expected` by band name."""
    assert source.descriptions == tuple(expected)
    for number, (name, band) in enumerate(expected.items(), 1):
        found = source.read(number, masked=True)
        np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(band), err_msg=name)
        tolerance = {"rtol": 1e-6} if name in ("ND", "RATIO", "ROOT") else {"rtol": 0}
        np.testing.assert_allclose(found.filled(0), band.filled(0), **tolerance, err_msg=name)
    assert (~np.ma.getmaskarray(found)).mean() > 0.05


@pytest.mark.parametrize(("transport", "name"), [way for way in WAYS if "product" in JOBS[way[1]] and way[1] != "day"])
def test_composites(written, transport, name):
    job, folder = JOBS[name], written(transport, name)
    method, every = job["product"]["method"], job["product"]["every"]
    clouds = job.get("clouds", {}).get("method")
    unwanted = {UNSCORED} if clouds == "cloud-score-plus" or method == "best_pixel" else set()
    unwanted |= {WORST} if name == "median" else set()
    bands = [text.partition(" ")[0] for text in job["bands"]]
    rows = {row.path: row for row in Ledger(folder).entries()}
    for period, source in products(folder):
        numbers = [number for number in PERIODS[every][period] if number not in unwanted]
        pixels = Bands(source, clouds)
        expected = {}
        for band in bands:
            scores = [pixels.band(n, "cs_cdf", SCORED) for n in numbers] if method == "best_pixel" else None
            expected[band] = merged([pixels.clear(n, band) for n in numbers], method, scores)
        assert_holds(source, expected)
        # One dtype a file: what holds both uint16 and int16.
        assert set(source.dtypes) == {"float64" if method in ("median", "mean") else "int32"}
        row = rows.pop(f"{name}_{period}.tif")
        assert row.scene_ids == tuple(SCENES[n].index for n in numbers)
        assert set(row.left_out) == {SCENES[n].index for n in PERIODS[every][period] if n in unwanted}
    assert not rows


@pytest.mark.parametrize("transport", [way for way, name in WAYS if name == "day"])
def test_granules_of_a_day_are_one(written, transport):
    days = {"20230601": [0, 1], "20230611": [2], "20230621": [3], "20230701": [4]}
    found = []
    for day, source in products(written(transport, "day")):
        pixels = Bands(source, "qa_pixel")
        assert_holds(source, {name: merged([pixels.clear(n, name) for n in days[day]], "mosaic") for name in "BS"})
        found.append(day)
    assert found == list(days)


@pytest.mark.parametrize("transport", [way for way, name in WAYS if name == "indices"])
def test_indices_of_scenes(written, transport):
    found = []
    for stamp, source in products(written(transport, "indices")):
        number = [scene.index.partition("_")[0] for scene in SCENES].index(stamp)
        pixels = Bands(source, "cloud-score-plus")
        assert_holds(source, {name: pixels.clear(number, name) for name in ("B", "ND", "RATIO", "ROOT")})
        found.append(number)
    assert found == [0, 1, 2, 4], "the scene without a score is left out"
