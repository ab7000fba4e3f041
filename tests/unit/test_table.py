"""The table: what numpy says of the pixels whose centre lies in the area, and no file is read twice."""

import numpy as np
import pandas as pd
import pytest

from eeflow.aoi import load_aoi
from eeflow.beside import finish_folder
from eeflow.ledger import Ledger
from eeflow.table import read_table

# Columns 0 to 3 have their centre left of x = 44 m on the fixture's grid, rows 0 to 2 above y = -34 m.
AREA = {"bbox": [600000, 5699966, 600044, 5700000], "crs": "EPSG:32631"}
INSIDE = (slice(0, 3), slice(0, 4))


@pytest.fixture
def job(make_job, tmp_path):
    return lambda form="csv": make_job(aoi=AREA, output={"root": str(tmp_path), "table": form, "stac": False})


def finish(job):
    finish_folder(job, load_aoi(job.aoi))
    return read_table(job.folder / f"farm.{job.output.table}")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_statistics_are_those_of_numpy_over_the_area(job, make_product, form):
    job = job(form)
    rng = np.random.default_rng(1)
    bands = {"B4": rng.integers(0, 5000, (6, 8)).astype("uint16"), "B8": rng.integers(0, 5000, (6, 8)).astype("uint16")}
    valid = rng.random((6, 8)) < 0.7
    make_product(job, "farm_20190508", time="2019-05-08T10:56:21.125000+00:00", bands=bands, valid=valid)
    make_product(job, "farm_20190503", scene_ids=("S0", "S1"), valid=np.zeros((6, 8), bool))
    table = finish(job)
    assert list(table["product"]) == ["farm_20190503", "farm_20190508"]
    assert list(table["scene_ids"]) == ["S0 S1", "S0"]
    assert list(table["time"]) == [pd.Timestamp("2019-05-03T10:56:21Z"), pd.Timestamp("2019-05-08T10:56:21.125Z")]
    for name, values in bands.items():
        inside = values[INSIDE][valid[INSIDE]]
        assert list(table[f"{name}_count"]) == [0, inside.size]
        assert 0 < inside.size < 12
        assert table[f"{name}_mean"][1] == inside.mean()
        assert table[f"{name}_median"][1] == np.median(inside)
        assert table[f"{name}_std"][1] == pytest.approx(inside.std(), rel=1e-12)
        assert table[[f"{name}_mean", f"{name}_median", f"{name}_std"]].iloc[0].isna().all()


def test_a_value_of_nought_counts_and_nan_does_not(job, make_product):
    job = job()
    values = np.zeros((6, 8), "float32")
    values[0, 0] = np.nan
    make_product(job, bands={"NDVI": values})
    table = finish(job)
    assert (table["NDVI_count"][0], table["NDVI_mean"][0]) == (11, 0)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_in_the_table_unchanged_is_not_read_again(job, make_product, form):
    job = job(form)
    for day in (3, 8):
        make_product(job, f"farm_2019050{day}", time=f"2019-05-0{day}T10:56:21+00:00")
    first = finish(job)
    path = job.folder / "farm_20190503.tif"
    path.write_bytes(bytes(path.stat().st_size))  # as large, but no TIFF: reading it would be an error
    make_product(job, "farm_20190508", time="2019-05-08T10:56:21+00:00", bands={"B4": np.full((6, 8), 3, "uint16")})
    second = finish(job)
    assert second.iloc[0].equals(first.iloc[0])
    assert second["B4_mean"][1] == 3
    assert pd.isna(second["B8_count"][1])  # a band this product does not have


def test_a_product_that_is_gone_leaves_the_table(job, make_product):
    job = job()
    for day in (3, 8):
        make_product(job, f"farm_2019050{day}", time=f"2019-05-0{day}T10:56:21+00:00")
    assert len(finish(job)) == 2
    Ledger(job.folder).record(forgetting=["farm_20190503.tif"])
    assert list(finish(job)["product"]) == ["farm_20190508"]


def test_a_damaged_table_is_made_anew(job, make_product):
    job = job()
    make_product(job)
    first = finish(job)
    (job.folder / "farm.csv").write_bytes(b"\x00\xff not a table")
    assert finish(job).equals(first)


def test_no_products_make_an_empty_table(job, make_product):
    job = job()
    make_product(job)
    Ledger(job.folder).record(forgetting=["farm_20190503T105621.tif"])
    assert len(finish(job)) == 0


def test_a_grid_beside_the_area_has_no_pixels_in_it(make_job, make_product, tmp_path):
    job = make_job(aoi={"bbox": [4, 50, 5, 51]}, output={"root": str(tmp_path), "table": "csv"})
    make_product(job)
    assert list(finish(job)["B4_count"]) == [0]
