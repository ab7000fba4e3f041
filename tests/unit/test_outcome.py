"""Rows of products that are not on disk say what they are, and why."""

from eeflow import outcome
from eeflow.errors import BadAnswer
from eeflow.ledger import Ledger
from eeflow.plan import make_plan
from eeflow.raster import Summary


def test_failed_and_rejected_products_have_a_row_each(make_job, make_series):
    job = make_job()
    job.folder.mkdir(parents=True)
    plan = make_plan(job, make_series(scenes=3))
    first, second, third = plan.products
    summary = Summary(65535, True, 1, 2, 3, 4)
    Ledger(job.folder).record(
        outcome.failed(job, plan, first, BadAnswer("a row\n is missing")),
        outcome.rejected(job, plan, second, "cloudy", "93% cloud over the area", cloud_fraction=0.93),
        outcome.rejected(job, plan, third, "invalid", "10% valid", summary=summary),
    )
    rows = Ledger(job.folder).rows()
    assert [row.path for row in rows] == [f"{product.name}.tif" for product in plan.products]
    assert [row.key for row in rows] == [product.key for product in plan.products]
    assert [(row.status, row.stage, row.error_kind, row.reason) for row in rows] == [
        ("failed", "fetch", "BadAnswer", "a row is missing"),
        ("rejected", "judge", "cloudy", "93% cloud over the area"),
        ("rejected", "write", "invalid", "10% valid"),
    ]
    assert rows[0].scene_ids == ("S0",)
    assert rows[0].versions == (1556881381000000,)
    assert rows[0].time_start == "2019-05-03T10:56:21.750000+00:00"
    assert rows[1].cloud_fraction == 0.93
    assert (rows[2].valid_pixels, rows[2].clipped_pixels) == (1, 4)
    assert len(Ledger(job.folder).rejections()) == 2
    assert Ledger(job.folder).entries() == []
