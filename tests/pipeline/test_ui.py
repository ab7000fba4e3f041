"""The Prefect UI in a browser: a job's form is filled in, what is wrong is refused, the run leaves a GeoTIFF."""

import os
import re
import shutil
from pathlib import Path

import pytest
import rasterio
from prefect_server import find, until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
# Where pictures of the pages go, to be looked at.
SHOTS = os.environ.get("EEFLOW_TEST_SCREENSHOTS")
PATIENCE = 180_000  # milliseconds
RUN_PATIENCE = 300  # seconds: the worker starts a process for the run while other tests keep the machine busy


class Form:
    """The form of a deployment's parameters."""

    def __init__(self, page):
        self.page = page

    def field(self, label):
        """The innermost field of that title."""
        own = "contains(concat(' ', normalize-space(@class), ' '), ' schema-form-property ')"
        title = ".//*[contains(@class, 'schema-form-property__label')][1][normalize-space(.) = "
        return self.page.locator(f"xpath=//*[{own}][{title}'{label}'] or {title}'{label} (Optional)']]").last

    def write(self, label, text, kind=None):
        """Writes a text into a field, of that type where it has several."""
        field = self.field(label)
        if kind:
            field.get_by_role("button", name=kind, exact=True).click()
        field.locator("textarea").last.fill(text)

    def number(self, label, value, kind=None):
        """Writes a number into a field, of that type where it has several."""
        if kind:
            self.field(label).get_by_role("button", name=kind, exact=True).click()
        self.field(label).locator("input").last.fill(str(value))

    def error(self, label):
        """What the form shows to be wrong at a field."""
        return self.field(label).locator(".p-label__message").last.inner_text()

    def add(self, label, values, kind=None):
        """Adds items to a list."""
        field = self.field(label)
        if kind:
            field.get_by_role("button", name=kind, exact=True).click()
        for number, value in enumerate(values):
            field.get_by_role("button", name="Add item").click()
            field.locator("input, textarea").nth(number).fill(str(value))

    def pick(self, label, day):
        """Takes a day from a date picker."""
        field = self.field(label)
        field.get_by_role("button", name="date", exact=True).click()
        field.locator(".p-date-button__control").click(force=True)
        self.page.locator(".p-date-picker input[type=date]").fill(day)
        self.page.get_by_role("button", name="Apply").click()

    def submit(self):
        self.page.get_by_role("button", name="Submit").click()


@pytest.fixture
def page():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def shoot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_a_form_that_is_filled_in_leaves_a_geotiff(deployed, page, tmp_path):
    _, environment = deployed
    ui = environment["PREFECT_API_URL"].removesuffix("/api")
    outside = []
    page.on("request", lambda request: outside.append(request.url) if is_outside(request.url, ui) else None)
    [deployment] = find(environment, "deployments", {"deployments": {"name": {"any_": ["on-demand"]}}})
    open_page(page, f"{ui}/deployments/deployment/{deployment['id']}/run")
    form = Form(page)
    form.field("Name").wait_for()
    assert "letters, digits, dot, dash, underscore" in form.field("Name").inner_text()
    assert form.field("Transport").locator(".p-select-button__value").inner_text() == "auto"

    form.write("Name", "not a name!")
    form.add("Bounding box", [4.0585, 50.7432, 4.0677, 50.7489], kind="list")
    form.write("Collection", "COPERNICUS/S2_SR_HARMONIZED", kind="str")
    form.add("Bands", ["B4", "B3", "B2"])
    form.field("Dates").get_by_role("button", name="Dates", exact=True).click()
    form.pick("Start", "2024-05-01")
    form.pick("End", "2024-06-01")
    form.write("Root", str(tmp_path))
    form.number("Threshold", 7)
    form.number("Resolution", -10, kind="float")
    form.submit()
    assert "'not a name!' does not match" in form.error("Name")
    assert form.error("Threshold") == "7 is greater than the maximum of 1"
    assert form.error("Resolution").startswith("-10 is not valid")
    form.field("Name").scroll_into_view_if_needed()
    shoot(page, "form")

    form.write("Name", "from-the-form")
    form.number("Threshold", 0.6)
    form.number("Resolution", 10)
    until(RUN_PATIENCE, lambda: is_taken(form), lambda: "the server was busy all the time")
    run = wait_for_run(environment, deployment)
    assert (run["name"], run["state_name"]) == ("from-the-form 2024-05", "Completed")
    paths = sorted((tmp_path / "from-the-form").glob("*.tif"))
    assert paths
    with rasterio.open(paths[0]) as raster:
        assert raster.descriptions == ("B4", "B3", "B2")
        assert raster.read_masks(1).any()

    open_page(page, f"{ui}/runs/flow-run/{run['id']}")
    page.get_by_text("from-the-form 2024-05").first.wait_for()
    page.get_by_text("written;").first.wait_for()
    shoot(page, "run")
    reports = find(environment, "artifacts", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    [report] = [found for found in reports if found["type"] == "markdown"]
    open_page(page, f"{ui}/artifacts/artifact/{report['id']}")
    picture = page.locator("img[src^='data:image/png']")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 100
    assert page.get_by_role("link", name=paths[0].name).get_attribute("href") == paths[0].as_uri()
    shoot(page, "report")
    assert outside == []


def is_taken(form):
    """Submits the form: whether the server took it, which answers 503 when it is too busy for the moment."""
    with form.page.expect_response(re.compile("create_flow_run")) as answer:
        form.submit()
    assert answer.value.ok or answer.value.status == 503
    return answer.value.ok


def open_page(page, url):
    """Goes on when the page begins to arrive: the UI keeps a connection open, so that `load` may be long in coming."""
    page.goto(url, wait_until="commit")


def is_outside(url, ui):
    return not url.startswith((ui, "data:", "blob:"))


def wait_for_run(environment, deployment):
    def runs():
        return find(environment, "flow_runs", {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}}})

    def ended():
        return [run for run in runs() if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}]

    return until(RUN_PATIENCE, ended, lambda: f"no run ended: {[(run['name'], run['state']) for run in runs()]}")[0]
