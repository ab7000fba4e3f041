"""What is measured: each contestant downloads the same pixels, in a process of its own.

    python contestants.py NAME TASK.json

prints one line of JSON: wall seconds from the connected-to-nothing start to the last file (imports not counted), the
peak memory of the process, and the files. TASK.json says what to download and where to.
"""

# ruff: noqa: PLC0415  each contestant imports its own, so that its memory and time are its own

import json
import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

IN_FLIGHT = int(os.environ.get("EEFLOW_MAX_CONCURRENT", "32"))


@contextmanager
def _clock(result):
    start, cpu = time.monotonic(), time.process_time()
    yield
    result["wall"] = time.monotonic() - start
    result["cpu"] = time.process_time() - cpu


def _connect(url):
    import ee
    from google.auth.credentials import AnonymousCredentials

    ee.deprecation._FetchDataCatalogStac = dict  # a public list read over the internet, for warnings only
    ee.Initialize(AnonymousCredentials(), url=url, project="local-project")


def _job(task):
    from eeflow.jobfile import parse_job

    return parse_job(_job_content(task))


def _job_content(task):
    job = {
        "name": task["name"],
        "aoi": {"bbox": task["box"], "crs": task["crs"]},
        "collection": task["collection"],
        "bands": task["names"],
        "dates": {"start": "2024-01-01", "end": "2025-01-01"},
        "output": {"root": task["out"], "quicklook": task.get("quicklook", False)},
        "limits": {"max_requests": 100_000},
    }
    if "transport" in task:
        job["transport"] = task["transport"]
    return job


def _each_scene_alone():
    """From here on a request asks for one scene, so that there are as many requests as scenes."""
    from eeflow import plan

    plan._Layout.together = lambda *_: 1


def eeflow(task, result):
    """The flow as the command runs it, on the Prefect server that the environment names, or on one it starts."""
    from flows.download import download
    from flows.heartbeat import beating

    _wait_for_the_others(task)
    with _clock(result), beating(download) as living:
        state = living(_job(task), return_state=True)
    report = state.result()
    result["files"] = [product.path for product in report.products]
    result["retries"] = report.retries


def campaign(task, result):
    """Several areas in one process, as the command runs a campaign."""
    from eeflow.campaign import Campaign
    from flows.campaign import campaign as flow
    from flows.heartbeat import beating

    jobs = [_job_content(area | {"out": task["out"]}) for area in task["areas"]]
    _wait_for_the_others(task)
    with _clock(result), beating(flow) as living:
        state = living(Campaign(name="areas", jobs=jobs, at_once=len(jobs)), return_state=True)
    result["files"] = [product.path for product in state.result().products]


def _wait_for_the_others(task):
    """Where several start at once, none begins before all have imported what they need."""
    if "go" in task:
        ready = Path(task["ready"])
        ready.mkdir(exist_ok=True)
        (ready / str(os.getpid())).touch()
        while not Path(task["go"]).exists():
            time.sleep(0.01)


def _planner():
    from eeflow.aoi import load_aoi
    from eeflow.grid import build_grid
    from eeflow.images import make_images
    from eeflow.plan import make_plan, outline
    from eeflow.scenes import choose_bands, find_scenes, native_lattice
    from eeflow.series import make_series
    from eeflow.transport import Pace

    def planned(job, session):
        aoi = load_aoi(job.aoi)
        scenes = find_scenes(session, job, aoi)
        bands = choose_bands(job.bands, scenes)
        grid = build_grid(job.grid, aoi, native_lattice(bands, scenes))
        pace = Pace(session.settings.max_concurrent)
        return make_plan(
            job, make_series(job, make_images(job, scenes), bands, grid), outline(job, aoi, grid), pace=pace
        )

    return planned


def engine(task, result):
    """eeflow without Prefect: the same steps, called one after the other."""
    from eeflow.blocks import BlockStore
    from eeflow.draft import Drafts
    from eeflow.fetch import Control, fetch_batch
    from eeflow.memory import stay_small
    from eeflow.session import current_session

    def finish(product):
        draft = drafts.take(product)
        entry = draft.finish()
        draft.discard()
        return entry

    stay_small()
    phases, planned = {}, _planner()
    with _clock(result):
        session, job = current_session(), _job(task)
        plan = planned(job, session)
        store = BlockStore(Path(job.output.root) / "blocks")
        job.folder.mkdir(parents=True, exist_ok=True)
        phases["plan"] = time.monotonic()
        drafts = Drafts(job, plan, plan.products, store)
        fetch_batch(session, plan.series, plan.requests, store, Control(on_kept=drafts.kept))
        phases["fetch"] = time.monotonic()
        # As many at once as the flow has task threads.
        with ThreadPoolExecutor(8) as pool:
            entries = list(pool.map(finish, plan.products))
        phases["write"] = time.monotonic()
    result["files"] = [str(job.folder / entry.path) for entry in entries]
    result["transport"] = plan.transport
    result["fetch_seconds"] = phases["fetch"] - phases["plan"]
    result["write_seconds"] = phases["write"] - phases["fetch"]


def bare(task, result):
    """Connects, lists and sends eeflow's own requests, and drops the answers: the same bytes, nothing decoded."""
    import requests
    from requests.adapters import HTTPAdapter

    from eeflow.pixels import pixels_body
    from eeflow.session import current_session

    planned, http, size, lock = _planner(), requests.Session(), [0], threading.Lock()
    http.mount("http://", HTTPAdapter(pool_maxsize=IN_FLIGHT))
    url = f"{task['url']}/v1/projects/local-project/image:computePixels"

    def download(body):
        answer = http.post(url, data=body, headers={"Content-Type": "application/json"})
        answer.raise_for_status()
        with lock:
            size[0] += len(answer.content)

    with _clock(result):
        session = current_session()
        plan = planned(_job(task), session)
        assert plan.transport == "compute_pixels"
        bodies = [json.dumps(pixels_body(plan.series, request)) for request in plan.requests]
        begun = time.monotonic()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            list(pool.map(download, bodies))
        result["fetch_seconds"] = time.monotonic() - begun
    result["files"], result["bytes"] = [], size[0]


def _region(task):
    import ee

    return ee.Geometry.Rectangle(task["box"], ee.Projection(task["crs"]), False)


def geedim(task, result):
    import ee
    import geedim as gd  # noqa: F401  registers the accessors
    from geedim import stac

    type(stac.STACClient()).get = lambda self, name: None  # band descriptions from a public catalogue
    out = Path(task["out"])
    out.mkdir(parents=True, exist_ok=True)
    width, height = task["window"][2:]
    grid = {"crs": task["crs"], "crs_transform": task["transform"], "shape": (height, width)}
    with _clock(result):
        _connect(task["url"])
        images = ee.ImageCollection(task["collection"]).filterBounds(_region(task)).select(task["names"])
        prepared = images.gd.prepareForExport(**grid)
        prepared.gd.toGeoTIFF(str(out), split="images", max_requests=IN_FLIGHT)
    result["files"] = sorted(str(path) for path in out.glob("*.tif"))


def xee(task, result):
    """xarray's dataset, written with rasterio as geospatial people do, a file a scene, uncompressed."""
    import ee
    import numpy as np
    import rasterio
    import xarray
    import xee as _  # noqa: F401  registers the engine

    out = Path(task["out"])
    out.mkdir(parents=True, exist_ok=True)
    width, height = task["window"][2:]
    profile = {"driver": "GTiff", "dtype": "uint16", "nodata": 0, "count": len(task["names"]), "tiled": True}
    with _clock(result):
        _connect(task["url"])
        images = ee.ImageCollection(task["collection"]).filterBounds(_region(task)).select(task["names"])
        grid = {"crs": task["crs"], "crs_transform": tuple(task["transform"]), "shape_2d": (width, height)}
        workers = {"max_workers": IN_FLIGHT}
        found = xarray.open_dataset(images, engine="ee", executor_kwargs=workers, **grid).load()
        for number, moment in enumerate(found["time"].values):
            path = out / f"{np.datetime_as_string(moment, unit='s').replace('-', '').replace(':', '')}.tif"
            size = {"height": height, "width": width, "transform": rasterio.Affine(*task["transform"])}
            with rasterio.open(path, "w", crs=task["crs"], **size, **profile) as raster:
                for index, name in enumerate(task["names"], 1):
                    values = found[name].isel(time=number).transpose("y", "x").values
                    raster.write(np.nan_to_num(values).astype("uint16"), index)
    result["files"] = sorted(str(path) for path in out.glob("*.tif"))


def edown(task, result):
    """With 32 chunks of 512 pixels in flight; its own choice of chunks for a large image is four of 2,368 pixels."""
    import edown as package
    import edown.discovery
    import edown.download
    from pyproj import Transformer

    # The client is connected already, without credentials, which edown would look for.
    edown.discovery.initialize_earth_engine = lambda url: "anonymous"
    edown.download.initialize_earth_engine = lambda url: "anonymous"
    left, bottom, right, top = task["box"]
    inset = 1.0  # metres, so that no neighbouring pixel is touched
    corners = [(x, y) for x in (left + inset, right - inset) for y in (bottom + inset, top - inset)]
    to_degrees = Transformer.from_crs(task["crs"], "EPSG:4326", always_xy=True)
    corners = [to_degrees.transform(*corner) for corner in corners]
    bounds = [f(corner[axis] for corner in corners) for f in (min, max) for axis in (0, 1)]
    with _clock(result):
        _connect(task["url"])
        config = package.DownloadConfig(
            collection_id=task["collection"],
            start_date="2024-01-01",
            end_date="2024-12-31",
            aoi=package.AOI.from_bbox(tuple(bounds)),
            bands=tuple(task["names"]),
            output_root=Path(task["out"]),
            server_url=task["url"],
            chunk_size=512,
            chunk_size_mode="fixed",
            download_workers=IN_FLIGHT,
            max_inflight_chunks=IN_FLIGHT,
        )
        summary = package.download_images(config)
    failed = [outcome.error for outcome in summary.results if outcome.status != "downloaded"]
    assert not failed, failed[0]
    result["files"] = sorted(str(outcome.tiff_path) for outcome in summary.results)


def original(task, result):
    """The method eeflow grew from, its points on the centres of pixels."""
    import ee
    import geopandas
    import shapely

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))
    from original_method import original_method

    out = Path(task["out"])
    out.mkdir(parents=True, exist_ok=True)
    left, bottom, right, top = task["box"]
    area = shapely.box(left + 5, bottom + 5, right - 5, top - 5)
    geopandas.GeoDataFrame(geometry=[area], crs=task["crs"]).to_file(out / "aoi.gpkg")
    with _clock(result):
        _connect(task["url"])
        images = ee.ImageCollection(task["collection"])
        original_method(out / "aoi.gpkg", task["crs"], images, task["names"][0], 10, out / "made.tif")
    result["files"] = [_moved_home(out / "made.tif", left, top)]


def rectangle(task, result):
    """The same with a rectangle in the place of a million points: what the points cost Earth Engine is left out."""
    import ee
    import numpy as np
    import pandas as pd
    import rasterio

    out = Path(task["out"])
    out.mkdir(parents=True, exist_ok=True)
    width, height = task["window"][2:]
    band = task["names"][0]
    with _clock(result):
        _connect(task["url"])
        images = ee.ImageCollection(task["collection"]).select(band)
        left, bottom, right, top = task["box"]
        area = ee.Geometry.Rectangle([left + 1, bottom + 1, right - 1, top - 1], ee.Projection(task["crs"]), False)
        rows = images.getRegion(area, crs=task["crs"], crsTransform=task["transform"]).getInfo()
        frame = pd.DataFrame(rows[1:], columns=rows[0]).drop(columns=["id", "time"])
        values = frame[band].to_numpy(dtype=np.float32).reshape(height, width)
        if frame["latitude"].iloc[0] < frame["latitude"].iloc[-1]:
            values = np.flip(values, axis=0)
        profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "height": height, "width": width}
        transform = rasterio.Affine(*task["transform"])
        with rasterio.open(out / "made.tif", "w", crs=task["crs"], transform=transform, **profile) as raster:
            raster.write(values, 1)
    result["files"] = [str(out / "made.tif")]


def _moved_home(path, left, top):
    """The original method's raster with the transform its pixels should have had, so that values can be compared."""
    import rasterio
    from rasterio.transform import from_origin

    with rasterio.open(path, "r+") as raster:
        raster.transform = from_origin(left, top, 10, 10)
    return str(path)


CONTESTANTS = (eeflow, campaign, engine, bare, geedim, xee, edown, original, rectangle)


def main(name, task):
    os.environ["EEFLOW_EE_URL"] = task["url"]
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    result = {}
    if task.get("alone"):
        _each_scene_alone()
    {contestant.__name__: contestant for contestant in CONTESTANTS}[name](task, result)
    result["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
