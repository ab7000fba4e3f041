"""The report page: what it says, that nothing from outside becomes markup, and that it stays small."""

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from eeflow.aoi import load_aoi
from eeflow.beside import finish_folder, write_beside
from eeflow.ledger import Ledger
from eeflow.page import write_page
from eeflow.page.svg import date_ticks, round_ticks
from flows.__main__ import app

START = datetime(2019, 1, 1, 10, 56, 21, tzinfo=UTC)
AREA = {"bbox": [600000, 5699940, 600080, 5700000], "crs": "EPSG:32631"}


@pytest.fixture
def series(make_job, make_product):
    """Makes a folder with a product every five days whose NDVI is given; None: rejected."""

    def make(*ndvi, stac=False, **changes):
        output = {"root": str(make_job().folder.parent), "quicklook": False, "stac": stac}
        job = make_job(aoi=AREA, output=output)
        for number, value in enumerate(ndvi):
            time = (START + timedelta(days=5 * number)).isoformat()
            name, bands = f"farm_{number:03}", {"NDVI": np.full((6, 8), value or 0.0, "float32")}
            entry = make_product(job, name, bands=bands, time=time, cloud_fraction=0.125)
            if value is None:
                reject(job.folder, entry, **changes)
            else:
                write_beside(job, entry)
        finish_folder(job, load_aoi(job.aoi))
        return job.folder

    return make


def reject(folder, entry, **changes):
    ledger = Ledger(folder)
    ledger.record(forgetting=[entry.path])
    (folder / entry.path).unlink()
    row = {"status": "rejected", "error_kind": "cloudy", "reason": "too cloudy: 93%", "sha256": None, "size": None}
    ledger.record(replace(entry, **{**row, **changes}))


def page(folder):
    return write_page(folder).read_text()


def words(html):
    """The texts a person sees."""
    parser = HTMLParser()
    texts = []
    parser.handle_data = texts.append
    parser.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.S))
    return " ".join(" ".join(texts).split())


def test_says_what_arrived_what_is_missing_and_why(series):
    text = words(page(series(0.16, None, 0.5, 0.92, None, None, None, None, 0.15, stac=True)))
    assert "4 of 9 products are here: 5 rejected; 1 gap, the longest of 25 days." in text
    assert "5 rejected , such as too cloudy: 93%" in text
    assert "0.92 on 16 Jan 2019" in text  # the highest of the curve; the lowest:
    assert "0.15 on 10 Feb 2019" in text
    assert "8 x 6 pixels of 10 m, EPSG:32631" in text
    assert "100% valid, 12.5% cloud" in text
    assert "Sentinel-2 surface reflectance" in text
    assert "Contains modified Copernicus Sentinel data 2019" in text


def test_says_what_products_that_are_here_were_made_without(series):
    folder = series(0.16, 0.2, None)
    ledger = Ledger(folder)
    first, second = ledger.entries()
    ledger.record(
        replace(first, left_out={"S1": "cloud over 41.2% of the area", "S2": "cloud over 90.0% of the area"}),
        replace(second, left_out={"S3": "cloud over 55.5% of the area", "S4": "it has no Cloud Score+"}),
    )
    text = words(page(folder))
    assert "3 scenes left out of what is here , such as cloud over 55.5% of the area" in text
    assert "1 scene left out of what is here : it has no Cloud Score+" in text
    remark = "2 of 3 scenes left out, such as S1: cloud over 41.2% of the area"
    assert text.count(remark) == 2, "in the table, and where one points at the product in the timeline"


def test_curve_is_drawn_to_scale(series):
    html = page(series(0.0, 0.25, 1.0))
    svg = next(text for text in re.findall(r"<svg.*?</svg>", html, re.S) if "Mean of NDVI" in text)
    circles = ET.fromstring(svg).findall(".//{*}circle")
    x, y = ([float(circle.get(key)) for circle in circles] for key in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.02)  # five days each
    assert (y[0] - y[1]) / (y[0] - y[2]) == pytest.approx(0.25, abs=0.001)
    title = circles[1].find("{*}title").text
    assert title.startswith("6 Jan 2019: mean 0.25, median 0.25, standard deviation 0, 48 pixels; 100% valid")


def test_nothing_from_outside_becomes_markup(series):
    evil = '<script>alert("x")</script><img src=http://example.com/x.png>'
    folder = series(0.2, None, reason=evil, product_id=evil, scene_ids=(evil,), versions=(1,))
    html = page(folder)
    parser, tags, sources = HTMLParser(), set(), []
    parser.handle_starttag = lambda tag, attributes: (tags.add(tag), sources.append(dict(attributes)))
    parser.feed(html)
    assert "script" not in tags
    assert "&lt;script&gt;" in html
    assert evil[:40] in words(html)
    assert not any({"src", "href"} & found.keys() for found in sources)  # and nothing that would be fetched


def test_products_without_time_table_or_pictures(make_job, make_product):
    job = make_job(aoi=AREA)
    make_product(job, "dem", bands={"elevation": np.ones((6, 8), "float32")}, time=None)
    html = page(job.folder)
    assert "1 of 1 products are here, none is missing." in words(html)
    assert "no picture" in html
    assert "What arrived when" not in html


def test_an_empty_ledger_is_a_page_too(series):
    folder = series(0.2)
    Ledger(folder).record(forgetting=["farm_000.tif"])
    assert "Nothing was asked for yet." in words(page(folder))


def test_72_scenes_with_pictures_are_small(series):
    folder = series(0.5)
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 4), "uint8")  # the largest a picture can get
    Image.fromarray(noise).save(folder / "farm_000.png")
    (first,) = Ledger(folder).rows()
    for number in range(1, 72):
        name, time = f"farm_{number:03}", (START + timedelta(days=5 * number)).isoformat()
        Ledger(folder).record(replace(first, product_id=name, path=f"{name}.tif", time_start=time, time_end=time))
        for kind in ("tif", "png"):
            shutil.copy(folder / f"farm_000.{kind}", folder / f"{name}.{kind}")
    html = page(folder)
    assert html.count("data:image/") == 72
    assert len(html) < 5_000_000


def test_command_writes_a_page_for_each_job(series, tmp_path):
    folder = series(0.2)
    result = CliRunner().invoke(app, ["report", str(folder.parent)])
    assert result.stdout.split() == [str(folder / "report.html")]
    out = tmp_path / "new" / "page.html"
    assert CliRunner().invoke(app, ["report", str(folder), "--out", str(out)]).exit_code == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert CliRunner().invoke(app, ["report", str(tmp_path / "nowhere")]).exit_code == 2


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.02, 0.94, [0, 0.2, 0.4, 0.6, 0.8]),
        (1000, 9000, [2000, 4000, 6000, 8000]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert round_ticks(low, high, 6) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("start", "days", "names"),
    [
        ("2021-11-20", 70, ["Dec", "Jan 2022"]),
        ("2021-01-01", 750, ["Jan 2021", "Apr", "Jul", "Oct", "Jan 2022", "Apr", "Jul", "Oct", "Jan 2023"]),
        ("2021-05-29", 5, ["30 May", "31 May", "1 Jun", "2 Jun"]),
        ("2021-05-02", 28, [f"{day} May" for day in range(3, 30, 3)]),
    ],
)
def test_dates_are_marked_however_short_the_time(start, days, names):
    first = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
    assert [name for _, name in date_ticks(first, first + days * 86400, 9)] == names
