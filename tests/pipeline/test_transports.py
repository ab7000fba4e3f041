"""Both transports on one grid give the same arrays, bit for bit: over dtypes, masks, CRSs, seams and swath edges."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import coded_service
import numpy as np
import pytest
import rasterio
from affine import Affine
from coded_service import CodedService
from coded_world import make_collection
from odc.geo.geobox import GeoBox

from eeflow.aoi import AOI
from eeflow.blocks import BlockStore
from eeflow.errors import RequestError, RequestTooLarge
from eeflow.fetch import Control, fetch_batch
from eeflow.grid import Window, parse_crs
from eeflow.images import make_images
from eeflow.jobfile import parse_job
from eeflow.plan import make_plan
from eeflow.scenes import find_scenes
from eeflow.series import Request, make_series
from eeflow.session import connect
from eeflow.settings import Settings

ALL_DTYPES = {
    "u8": "uint8",
    "u16": "uint16",
    "i16": "int16",
    "i32": "int32",
    "f32": "float32",
    "f64": "float64",
}
TIMES = ["2023-06-01T10:30:15Z", "2023-06-03T10:40:16Z", "2023-06-05T10:50:17Z"]


def collection(mask):
    return make_collection(
        f"CODED/{mask.upper()}",
        "EPSG:32631",
        (10, 0, 499980, 0, -10, 5700000),
        (600, 700),
        ALL_DTYPES,
        TIMES,
        mask=mask,
    )


# Native pixels inside; a window over the raster's lower right corner; degrees; another projection.
GRIDS = {
    "native": GeoBox((90, 70), Affine(10, 0, 501_230, 0, -10, 5_699_120), "EPSG:32631"),
    "edge": GeoBox((60, 80), Affine(10, 0, 506_580, 0, -10, 5_694_300), "EPSG:32631"),
    "degrees": GeoBox((50, 40), Affine(2e-4, 0, 3.02, 0, -1e-4, 51.44), "EPSG:4326"),
    "laea": GeoBox((40, 60), Affine(20, 0, 3_837_600, 0, -20, 3_169_300), "EPSG:3035"),
}


@pytest.fixture(scope="module", params=["per_band", "shared", "none", "all"])
def connected(request):
    asset = collection(request.param)
    with CodedService([asset]) as service:
        yield connect(Settings(ee_url=service.url, _env_file=None)), asset


def fetched(session, series, requests, folder, control=None):
    store = BlockStore(folder)
    fetch_batch(session, series, requests, store, control or Control())
    return {
        (request.window, scene_id): store.load(series.block_key(scene_id, request.bands, request.window))
        for request in requests
        for scene_id in request.image_ids
    }


def series_on(session, asset, grid):
    job = parse_job(
        {
            "name": "t",
            "aoi": {"bbox": [499980, 5694000, 506980, 5700000], "crs": "EPSG:32631"},
            "collection": asset.asset_id,
            "dates": {"start": "2023-06-01", "end": "2023-07-01"},
        }
    )
    area = AOI(grid.extent.geom, parse_crs(str(grid.crs)))
    scenes = find_scenes(session, job, area)
    return job, make_series(job, make_images(job, scenes), list(ALL_DTYPES), grid)


@pytest.mark.parametrize("name", GRIDS)
def test_same_blocks(connected, name, tmp_path):
    session, asset = connected
    grid = GRIDS[name]
    _, series = series_on(session, asset, grid)
    scenes = tuple(image.image_id for image in series.images)
    assert len(scenes) == 3
    half = grid.height // 2
    parts = [Window(0, 0, half, grid.width), Window(half, 0, grid.height - half, grid.width)]
    assert series.packing
    ways = {"packed": ("get_region", True), "plain": ("get_region", False), "pixels": ("compute_pixels", True)}
    by = {}
    for way, (transport, packing) in ways.items():
        requests = [Request(scenes, tuple(ALL_DTYPES), window, transport) for window in parts]
        own = dataclasses.replace(series, packing=packing)
        by[way] = fetched(session, own, requests, tmp_path / way)
    seen_valid = seen_masked = 0
    for key, pixels in by["pixels"].items():
        for found in (by["packed"][key], by["plain"][key]):
            for band, dtype in ALL_DTYPES.items():
                assert found.values[band].dtype == pixels.values[band].dtype == np.dtype(dtype)
                np.testing.assert_array_equal(found.valid[band], pixels.valid[band])
                assert found.values[band].tobytes() == pixels.values[band].tobytes()
            np.testing.assert_array_equal(found.seen, pixels.seen)
        seen_valid += sum(valid.sum() for valid in pixels.valid.values())
        seen_masked += sum((~valid).sum() for valid in pixels.valid.values())
    mask = asset.asset_id.rpartition("/")[2]
    assert (seen_valid > 0) == (mask != "ALL")
    assert (seen_masked > 0) == (mask != "NONE" or name == "edge")


def test_a_request_found_too_large_is_split_and_gives_the_same(connected, tmp_path, monkeypatch):
    session, asset = connected
    _, series = series_on(session, asset, GRIDS["native"])
    scenes = tuple(image.image_id for image in series.images)
    request = Request(scenes, tuple(ALL_DTYPES), Window(0, 0, 90, 70), "compute_pixels")
    whole = fetched(session, series, [request], tmp_path / "whole")
    send, limit = session.compute_pixels, 1000

    def limited(body):
        size = body["grid"]["dimensions"]
        if size["width"] * size["height"] > limit:
            raise RequestTooLarge("Earth Engine answered 400: User memory limit exceeded.", 400)
        return send(body)

    monkeypatch.setattr(session, "compute_pixels", limited)
    store = BlockStore(tmp_path / "split")
    receipt = fetch_batch(session, series, [request], store, Control())
    assert receipt.splits == 1 + 1  # 90 x 70, and one of four of 45 x 35 = 1,575; 23 x 18 = 414 is answered
    for (window, scene_id), block in whole.items():
        part = store.load(series.block_key(scene_id, request.bands, window))
        for band in ALL_DTYPES:
            np.testing.assert_array_equal(block.values[band], part.values[band])
            np.testing.assert_array_equal(block.valid[band], part.valid[band])
    assert len(list(store.folder.rglob("*.npz"))) == len(whole)  # the parts' own are gone


def test_an_endpoint_that_refuses_packed_rows_is_asked_plainly_from_then_on(tmp_path, monkeypatch):
    asset = collection("per_band")
    with CodedService([asset]) as service:
        session = connect(Settings(ee_url=service.url, _env_file=None))
        _, series = series_on(session, asset, GRIDS["native"])
        scenes = tuple(image.image_id for image in series.images)
        requests = [Request(scenes, tuple(ALL_DTYPES), Window(row, 0, 30, 70)) for row in (0, 30, 60)]
        packed = fetched(session, series, requests, tmp_path / "packed")
        send, kinds = session.compute, []

        def refuse(expression):
            kinds.append("packed" if "Image.clamp" in expression.serialize() else "plain")
            if kinds[-1] == "packed":
                raise RequestError("Earth Engine answered 400: Image.clamp: not known.", 400)
            return send(expression)

        monkeypatch.setattr(session, "compute", refuse)
        control = Control()  # of a run, whose batches share it
        plain = fetched(session, series, requests[:1], tmp_path / "plain", control)
        plain |= fetched(session, series, requests[1:], tmp_path / "plain", control)
        assert kinds == ["packed", "plain", "plain", "plain"]
        assert packed.keys() == plain.keys()
        for key, block in plain.items():
            for band in ALL_DTYPES:
                np.testing.assert_array_equal(block.valid[band], packed[key].valid[band])
                assert block.values[band].tobytes() == packed[key].values[band].tobytes()
            np.testing.assert_array_equal(block.seen, packed[key].seen)


def test_a_size_that_was_refused_is_not_sent_again(tmp_path, monkeypatch):
    """Twelve requests at once, of which none may be larger than 200 pixels."""
    asset = collection("none")
    with CodedService([asset]) as service:
        session = connect(Settings(ee_url=service.url, max_concurrent=8, _env_file=None))
        _, series = series_on(session, asset, GRIDS["native"])
        windows = [Window(row, col, 40, 32) for row in (0, 40) for col in (0, 32)]
        requests = [
            Request((image.image_id,), ("u8",), w, "compute_pixels") for image in series.images for w in windows
        ]
        send, sent, refused = session.compute_pixels, [], []

        def limited(body):
            size = body["grid"]["dimensions"]
            pixels = size["width"] * size["height"]
            (sent if pixels <= 200 else refused).append(pixels)
            if pixels > 200:
                raise RequestTooLarge("Earth Engine answered 400: User memory limit exceeded.", 400)
            return send(body)

        monkeypatch.setattr(session, "compute_pixels", limited)
        control = Control()
        receipt = fetch_batch(session, series, requests[:9], BlockStore(tmp_path), control)
        assert receipt.splits == len(refused)
        assert refused.count(20 * 16) == 1  # one went ahead, the others waited for how it fared
        assert set(refused) == {40 * 32, 20 * 16}
        del refused[:]
        assert fetch_batch(session, series, requests[9:], BlockStore(tmp_path), control).splits == 0
        assert refused == []
        assert set(sent) == {10 * 8}
        assert sum(sent) == 12 * 40 * 32


def test_a_pixel_that_is_too_much_is_named(tmp_path, monkeypatch):
    asset = collection("none")
    with CodedService([asset]) as service:
        session = connect(Settings(ee_url=service.url, _env_file=None))
        _, series = series_on(session, asset, GRIDS["native"])

        def refuse(body):
            raise RequestTooLarge("Earth Engine answered 400: Computation timed out.", 400)

        monkeypatch.setattr(session, "compute_pixels", refuse)
        scene = series.images[0].image_id
        request = Request((scene,), ("u8", "u16"), Window(3, 5, 2, 2), "compute_pixels")
        expected = rf"even 1 x 1 pixels too much \(row [34], column [56], band (u8|u16), image {scene}\): .*timed out"
        with pytest.raises(RequestError, match=expected):
            fetch_batch(session, series, [request], BlockStore(tmp_path), Control())


def test_auto_goes_on_with_get_region_where_the_endpoint_has_no_pixels(prefect_environment, tmp_path, monkeypatch):
    """Another service may stand in Earth Engine's place and know getRegion only."""
    monkeypatch.setattr(coded_service._Handler, "_pixels", lambda handler, path, _: handler._refuse(path))
    job = {
        "name": "large",
        "aoi": {"bbox": [500_000, 5_694_100, 506_900, 5_699_900], "crs": "EPSG:32631"},
        "collection": "CODED/SHARED",
        "dates": {"start": "2023-06-01", "end": "2023-06-02"},
        "packing": "off",
        "output": {"root": str(tmp_path)},
    }
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job))
    with CodedService([collection("shared")]) as service:
        environment = prefect_environment | {"EEFLOW_EE_URL": service.url}
        command = [Path(sys.executable).parent / "eeflow"]
        planned = subprocess.run([*command, "plan", path, "--json"], env=environment, capture_output=True, check=True)
        done = subprocess.run([*command, "run", path, "--json"], env=environment, capture_output=True, check=False)
    assert json.loads(planned.stdout)["transport"] == "compute_pixels"
    assert done.returncode == 0, done.stderr
    (product,) = json.loads(done.stdout)["products"]
    assert product["status"] == "written"
    with rasterio.open(product["path"]) as raster:
        assert raster.shape == (580, 690)


def test_auto_takes_pixels_for_a_large_raster_and_says_what_both_cost(connected):
    session, asset = connected
    job, series = series_on(session, asset, GRIDS["native"])
    large = dataclasses.replace(series, grid=GeoBox((4096, 4096), GRIDS["native"].transform, "EPSG:32631"))
    plan = make_plan(job, large)
    assert [draft.transport for draft in plan.drafts] == ["compute_pixels", "get_region"]
    assert plan.drafts[0].seconds < plan.drafts[1].seconds
    for draft in plan.drafts:
        asked = sum(request.values for request in draft.requests)
        assert asked == 4096 * 4096 * 6 * 3
    # 6 bands of 20 bytes in all, 6 mask bytes, and the masks' own band with its mask byte: 28 bytes a pixel.
    assert all(request.rows * 28 <= 48 * 2**20 for request in plan.drafts[0].requests)
    # u8, u16 and i16 share a value; i32, f32 and f64 have one each.
    assert all(request.rows * 4 <= 1_048_576 for request in plan.drafts[1].requests)
    assert math.prod(plan.chosen.windows[0].of(large.grid).shape) % 256 == 0
