"""Which scenes become one image: single ones, solar days of a pass, periods; reprocessings; the order they lie in."""

from datetime import UTC, datetime, timedelta

import pytest
import shapely

from eeflow import series
from eeflow.errors import ConfigError
from eeflow.images import make_images
from eeflow.plan import name_products
from eeflow.scenes import Band, Scene

BAND = Band("B4", "uint16", "EPSG:32631", (10, 0, 600000, 0, -10, 5700000), (10, 10))
NOON = "2023-06-01T12:00:00"


def scene(scene_id, time=NOON, west=4.0, width=1.0, **facts):
    moment = time and datetime.fromisoformat(time).replace(tzinfo=UTC)
    outline = shapely.box(west, 50, west + width, 51)
    return Scene(scene_id, facts.pop("version", 1), moment, (BAND,), facts.pop("footprint", outline), **facts)


def grouped(job, scenes, **more):
    """Scene ids by image id, in the order they are merged; scenes as a listing gives them, by time, then by id."""
    listed = sorted(scenes, key=lambda one: (one.time_start or datetime.min.replace(tzinfo=UTC), one.scene_id))
    return {image.image_id: [one.scene_id for one in image.scenes] for image in make_images(job, listed, **more)}


@pytest.fixture
def day(make_job):
    return make_job(product={"kind": "day"})


@pytest.mark.parametrize(
    ("longitude", "days"),
    [
        # 23:30, 00:30 and 12:30 UTC; at 180 degrees it is twelve hours later, at -180 twelve hours earlier.
        (0.0, {"20230601": ["a"], "20230602": ["b", "c"]}),
        (7.5, {"20230602": ["a", "b", "c"]}),
        (-7.6, {"20230601": ["a", "b"], "20230602": ["c"]}),
        (179.99, {"20230602": ["a", "b"], "20230603": ["c"]}),
        (-179.99, {"20230601": ["a", "b"], "20230602": ["c"]}),
    ],
)
def test_a_day_is_the_one_by_the_sun_of_the_area(day, longitude, days):
    times = {"a": "2023-06-01T23:30:01", "b": "2023-06-02T00:30:01", "c": "2023-06-02T12:30:01"}
    assert grouped(day, [scene(name, time) for name, time in times.items()], longitude=longitude) == days


def test_passes_of_one_day_stay_apart_and_their_files_too(day, make_series):
    scenes = [scene("a", orbit="S2A_51"), scene("b", "2023-06-01T12:00:09", orbit="S2A_51"), scene("c", orbit="S2B_8")]
    assert grouped(day, scenes) == {"20230601_S2A_51": ["a", "b"], "20230601_S2B_8": ["c"]}
    made = series.make_series(day, make_images(day, scenes), ["B4"], make_series().grid)
    assert [product.name for product in name_products(day, made)] == ["farm_20230601", "farm_20230601_2"]


def test_of_reprocessings_the_one_produced_last_is_taken(day):
    """The granules' ids sort against the order they were produced in, and the older one has the greater version."""
    first = scene("z_first", produced="20230601T150000", version=9, tile="31UES", orbit="S2A_51")
    again = scene("a_again", "2023-06-01T12:00:02", produced="20240101T000000", version=2, tile="31UES", orbit="S2A_51")
    beside = scene("beside", west=4.9, tile="31UFS", produced="20230601T150000", orbit="S2A_51")
    other = scene("other", orbit="S2B_8", tile="31UES", produced="20200101T000000")
    expected = {"20230601_S2A_51": ["beside", "a_again"], "20230601_S2B_8": ["other"]}
    assert grouped(day, [first, again, beside, other]) == expected
    versions = [scene("old", version=1, tile="31UES"), scene("new", version=2, tile="31UES")]
    assert grouped(day, versions) == {"20230601": ["new"]}  # nothing says when they were produced
    later = scene("later", "2023-06-01T12:00:31", tile="31UES")
    assert grouped(day, [versions[0], later]) == {"20230601": ["old", "later"]}  # not the same acquisition
    assert grouped(day, [scene("p"), scene("q")]) == {"20230601": ["p", "q"]}  # nothing says which ground they show


def test_parts_of_a_granule_that_was_cut_in_two_are_both_kept(day):
    """Sentinel-2 delivers a granule in two products where a datastrip ends: the same tile, orbit and (nearly) time."""
    facts = {"tile": "31UES", "orbit": "S2A_51"}
    north = scene("north", footprint=shapely.box(4, 50.5, 5, 51), produced="1", **facts)
    south = scene("south", footprint=shapely.box(4, 50, 5, 50.52), produced="2", **facts)
    again = scene("zagain", footprint=shapely.box(4, 50.49, 5, 51), produced="3", **facts)
    assert grouped(day, [north, south]) == {"20230601_S2A_51": ["north", "south"]}
    assert grouped(day, [north, south, again]) == {"20230601_S2A_51": ["south", "zagain"]}


@pytest.mark.parametrize("kind", ["day", "composite"])
def test_later_scenes_lie_above_earlier_ones_and_of_equals_the_greater_id(make_job, kind):
    job = make_job(product={"kind": kind})
    scenes = [scene("c"), scene("a", "2023-06-01T12:00:14"), scene("b"), scene("d", "2023-06-01T12:00:07")]
    assert list(grouped(job, scenes).values()) == [["b", "c", "d", "a"]]


def test_a_reprocessed_granule_lies_where_its_own_time_and_id_say(day):
    """The one that is kept may be listed before or after the granule it overlaps, whichever came first."""
    twin = {"tile": "31UES", "produced": "1"}
    scenes = [scene("a", **twin), scene("b", west=4.5), scene("c", **(twin | {"produced": "2"}))]
    assert grouped(day, scenes) == {"20230601": ["b", "c"]}


def test_the_least_cloudy_lies_above_and_the_later_one_of_equals(make_job):
    job = make_job(product={"kind": "composite", "method": "least_cloudy"})
    scenes = [scene(name, f"2023-06-0{n}T12:00:00") for n, name in enumerate("abcd", start=1)]
    cloud = {"a": 0.1, "b": 0.7, "c": 0.1, "d": 0.3}
    assert list(grouped(job, scenes, cloud=cloud).values()) == [["b", "d", "a", "c"]]
    said = [scene("a", cloud_cover=0.5), scene("b", cloud_cover=0.6)]
    assert list(grouped(job, said).values()) == [["b", "a"]]
    with pytest.raises(ConfigError, match="least_cloudy, but scene a says nothing of its clouds; give clouds"):
        grouped(job, scenes)
    measured = make_job(product={"kind": "composite", "method": "least_cloudy"}, clouds={"method": "scl"})
    # One without a pixel over the area has no share of cloud there, whatever its whole granule has.
    assert list(grouped(measured, [*scenes, scene("e", cloud_cover=0.0)], cloud=cloud).values()) == [list("ebdac")]


PERIODS = ["2023-05-01", "2023-05-31", "2023-06-01", "2023-06-10", "2023-07-01"]


@pytest.mark.parametrize(
    ("every", "dates", "expected"),
    [
        ("all", {"start": "2023-05-01", "end": "2023-08-01"}, {"20230501_20230801": "abcde"}),
        ("all", {"last": "92d"}, {"20230502_20230802": "abcde"}),  # what is listed is what is merged
        ("month", {"start": "2023-05-01", "end": "2023-08-01"}, {"202305": "ab", "202306": "cd", "202307": "e"}),
        ("month", {"last": "92d"}, {"202305": "ab", "202306": "cd", "202307": "e"}),
        # 16 days from 1 May: 1-16 May, 17 May - 1 June, 2-17 June, 18 June - 3 July.
        (
            "16d",
            {"start": "2023-05-01", "end": "2023-08-01"},
            {"20230501_20230517": "a", "20230517_20230602": "bc", "20230602_20230618": "d", "20230618_20230704": "e"},
        ),
        # 30 days from 1 January 1970: day 19470 is 23 April 2023, 19500 is 23 May, 19530 is 22 June.
        ("30d", {"last": "92d"}, {"20230423_20230523": "a", "20230523_20230622": "bcd", "20230622_20230722": "e"}),
    ],
)
def test_periods(make_job, every, dates, expected):
    job = make_job(product={"kind": "composite", "every": every}, dates=dates)
    scenes = [scene(name, f"{day}T23:59:59") for name, day in zip("abcde", PERIODS, strict=True)]
    now = datetime(2023, 8, 1, 9, tzinfo=UTC)
    assert grouped(job, scenes, now=now) == {period: list(names) for period, names in expected.items()}
    tomorrow = grouped(job, scenes, now=now + timedelta(days=1))
    assert (tomorrow == grouped(job, scenes, now=now)) == (every != "all" or "start" in dates)


def test_a_whole_collection_is_one_image_named_by_the_job_alone(make_job):
    job = make_job(dates=None, product={"kind": "composite", "method": "mosaic"})
    images = make_images(job, [scene("a", None), scene("b", None, west=5.0)])
    assert [(image.image_id, image.stem, image.time_start) for image in images] == [("all", "", None)]
    assert make_images(job, []) == []


def test_scenes_without_time_have_no_day_nor_period(make_job, day):
    with pytest.raises(ConfigError, match=r"product has kind: day, but scene a has no time; say kind: scene\."):
        grouped(day, [scene("a", None)])
    with pytest.raises(ConfigError, match=r"product has every: month, but scene a has no time"):
        grouped(make_job(product={"kind": "composite", "every": "month"}), [scene("a", None)])


def test_scenes_seconds_apart_are_products_of_their_own(make_job, make_series):
    job = make_job()
    scenes = [scene("a"), scene("b", "2023-06-01T12:00:00.700000"), scene("c", "2023-06-01T12:00:01"), scene("d", None)]
    images = make_images(job, scenes)
    made = series.make_series(job, images, ["B4"], make_series().grid)
    names = [product.name for product in name_products(job, made)]
    assert names == ["farm_20230601T120000", "farm_20230601T120000_2", "farm_20230601T120001", "farm_d"]
    assert len({product.key for product in name_products(job, made)}) == 4
    # One that comes late and is listed first leaves the others their names.
    late = series.make_series(job, make_images(job, [scene("0"), *scenes]), ["B4"], make_series().grid)
    kept = {image.image_id: name for image, name in zip(images, names, strict=True)}
    assert [product.name for product in name_products(job, late, names=kept)] == ["farm_20230601T120000_3", *names]


def test_another_version_scene_or_order_is_another_image(make_job):
    job = make_job(product={"kind": "composite"})

    def content(*scenes):
        return make_images(job, scenes)[0].content

    assert content(scene("a"), scene("b")) == content(scene("a"), scene("b"))
    later = scene("a", "2023-06-01T13:00:00")
    others = [content(scene("a")), content(scene("a", version=2), scene("b")), content(scene("b"), later)]
    assert content(scene("a"), scene("b")) not in others
