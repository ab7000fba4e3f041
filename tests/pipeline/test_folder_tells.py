"""After a run the folder tells of itself: a catalog that opens, a table, a verdict, and a page that a browser shows."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from eelocal import LocalEarthEngine

BIN = Path(sys.executable).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
JOB = """
name: farm
aoi: {bbox: [4.060, 50.744, 4.066, 50.748]}
collection: COPERNICUS/S2_SR_HARMONIZED
bands: [B4, B8]
dates: {start: 2019-05-01, end: 2019-06-11}
output: {table: parquet}
"""


@pytest.fixture(scope="module")
def eeflow(prefect_environment, tmp_path_factory):
    """Runs the command in a folder with the job, against the generated world."""
    root = tmp_path_factory.mktemp("tells")
    (root / "job.yaml").write_text(JOB)
    with LocalEarthEngine() as engine:
        environment = prefect_environment | {"EEFLOW_EE_URL": engine.url}

        def run(*words):
            command = [BIN / "eeflow", *words]
            return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

        done = run("run", "job.yaml", "--out", "data", "--json")
        assert done.returncode == 0, done.stderr
        run.products = json.loads(done.stdout)["products"]
        run.folder = root / "data" / "farm"
        yield run


def test_catalog_leads_to_every_product(eeflow):
    catalog = pystac.Catalog.from_file(str(eeflow.folder / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    paths = {str((eeflow.folder / item.assets["data"].href).resolve()) for item in items}
    assert paths == {str(eeflow.folder / path["path"].rpartition("/")[2]) for path in eeflow.products}
    assert len(items) > 3
    for item in items:
        content = json.loads((eeflow.folder / f"{item.id}.json").read_text())
        JsonSchemaSTACValidator().validate_core(content, pystac.STACObjectType.ITEM, "1.1.0")
        with rasterio.open(eeflow.folder / item.assets["data"].href) as raster:
            assert [band["name"] for band in content["assets"]["data"]["bands"]] == list(raster.descriptions)
            assert content["properties"]["proj:transform"] == list(raster.transform)[:6]


def test_table_is_that_of_the_pixels(eeflow):
    table = pd.read_parquet(eeflow.folder / "farm.parquet")
    assert len(table) == len(eeflow.products)
    row = table.iloc[1]
    with rasterio.open(eeflow.folder / f"{row['product']}.tif") as raster:
        values = raster.read(2, masked=True)
    assert 0.8 * values.count() < row["B8_count"] <= values.count()  # the box, not all of the grid around it
    assert abs(row["B8_mean"] - np.float64(values.mean())) < 0.05 * row["B8_mean"]


def test_verify_finds_nothing_and_then_what_was_done(eeflow, tmp_path):
    assert eeflow("verify", "data").returncode == 0
    copy = tmp_path / "farm"
    shutil.copytree(eeflow.folder, copy)
    first = next(copy.glob("*.tif"))
    first.write_bytes(first.read_bytes()[:-100])
    done = eeflow("verify", str(tmp_path))
    assert (done.returncode, f"cut: {first.name}" in done.stdout) == (1, True)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_page_opens_in_a_browser_within_a_second_and_asks_for_nothing(eeflow):
    from playwright.sync_api import sync_playwright

    done = eeflow("report", "data")
    assert done.returncode == 0, done.stderr
    page_file = eeflow.folder / "report.html"
    asked, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        seconds = []
        for _ in range(3):  # the quickest, since the machine has other things to do
            page.goto("about:blank")
            begun = time.monotonic()
            page.goto(page_file.as_uri())
            seconds.append(time.monotonic() - begun)
        headline = page.locator(".verdict").inner_text()
        widths = page.eval_on_selector_all(".film img", "images => images.map(image => image.naturalWidth)")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        dots = page.locator("section circle").count()
        browser.close()
    assert headline == f"{len(eeflow.products)} of {len(eeflow.products)} products are here, none is missing."
    assert len(widths) == len(eeflow.products)
    assert all(width > 0 for width in widths)
    assert dots == 2 * len(eeflow.products)
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    assert (said, overflow) == ([], 0)
    assert min(seconds) < 1
