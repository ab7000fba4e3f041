"""Campaigns: how one file becomes many jobs, and what is wrong with it in one line."""

import geopandas as gpd
import pytest
import shapely
import yaml

from eeflow.aoi import load_aoi
from eeflow.campaign import Campaign, chosen, load_campaign
from eeflow.errors import AOIError, ConfigError

S2 = {
    "collection": "COPERNICUS/S2_SR_HARMONIZED",
    "bands": ["B4"],
    "dates": {"start": "2024-05-01", "end": "2024-06-01"},
}
BOX = {"bbox": [4.0, 50.0, 4.1, 50.1]}


def campaign_file(folder, **content):
    path = folder / "fields.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def job(name, **content):
    return {"name": name, "aoi": BOX, **content}


def vector_file(folder, names, field="field", **columns):
    outlines = [shapely.box(500000 + 100 * n, 5600000, 500080 + 100 * n, 5600050) for n in range(len(names))]
    path = folder / "fields.gpkg"
    gpd.GeoDataFrame({field: names, **columns}, geometry=outlines, crs="EPSG:32631").to_file(path)
    return path


def test_each_feature_is_a_job_named_by_its_field_and_keeps_its_coordinates(tmp_path):
    vector_file(tmp_path, ["Grote Akker/1", "Weide ø", "3"], crop=["a", "b", "b"])
    path = campaign_file(
        tmp_path, defaults=S2 | {"aoi": {"buffer": 20}}, aois={"file": "fields.gpkg", "name_field": "field"}
    )
    jobs = load_campaign(path).make_jobs()
    assert [job.name for job in jobs] == ["Grote_Akker_1", "Weide", "3"]
    assert load_aoi(jobs[1].aoi.model_copy(update={"buffer": 0})).geometry.bounds == (500100, 5600000, 500180, 5600050)
    assert jobs[1].aoi.buffer == 20
    assert jobs[1].aoi.crs == "EPSG:32631"


def test_features_are_chosen_by_where(tmp_path):
    vector_file(tmp_path, ["a", "b", "c"], crop=["wheat", "rye", "wheat"])
    aois = {"file": "fields.gpkg", "name_field": "field", "where": "crop = 'wheat'"}
    assert [job.name for job in load_campaign(campaign_file(tmp_path, defaults=S2, aois=aois)).make_jobs()] == [
        "a",
        "c",
    ]


@pytest.mark.parametrize(
    ("names", "field", "expected"),
    [
        (["A/1", "b", "a 1"], "field", r"makes the same folder: 'A/1', 'a 1' \(A_1\)"),
        (["a", None, ""], "field", r"2 of 3 features have no field \(the first is feature 2\)"),
        ([1.0, None], "field", r"1 of 2 features have no field"),
        (["a"], "name", r"has no field 'name' for aois.name_field; it has field\."),
    ],
)
def test_features_that_cannot_be_named_are_refused(tmp_path, names, field, expected):
    vector_file(tmp_path, names)
    path = campaign_file(tmp_path, defaults=S2, aois={"file": "fields.gpkg", "name_field": field})
    with pytest.raises(ConfigError, match=expected):
        load_campaign(path)


def test_file_of_areas_that_is_not_there(tmp_path):
    with pytest.raises(AOIError, match=r"nowhere\.gpkg does not exist"):
        load_campaign(campaign_file(tmp_path, defaults=S2, aois={"file": "nowhere.gpkg", "name_field": "field"}))


def test_every_area_for_every_collection_and_period(tmp_path):
    path = campaign_file(
        tmp_path,
        defaults={"bands": ["B4"]},
        jobs=[{"name": "a", "aoi": BOX}, {"name": "b", "aoi": BOX, "bands": ["B8"]}],
        collections={
            "s2": {"collection": "COPERNICUS/S2_SR_HARMONIZED"},
            "l8": {"collection": "LANDSAT/LC08/C02/T1_L2"},
        },
        periods={2023: {"start": "2023-04-01", "end": "2023-10-01"}, 2024: {"last": "30d"}},
    )
    jobs = load_campaign(path).make_jobs()
    assert [job.name for job in jobs] == [
        "a_s2_2023", "b_s2_2023", "a_s2_2024", "b_s2_2024", "a_l8_2023", "b_l8_2023", "a_l8_2024", "b_l8_2024",
    ]  # fmt: skip
    assert [job.bands for job in jobs[:2]] == [["B4"], ["B8"]]
    assert jobs[6].collection == "LANDSAT/LC08/C02/T1_L2"
    assert (jobs[6].dates.last, jobs[6].dates.start) == ("30d", None)


def test_a_job_wins_over_defaults_and_the_command_line_over_both(tmp_path):
    path = campaign_file(
        tmp_path,
        defaults=S2 | {"output": {"root": "x", "format": "gtiff"}, "aoi": {"buffer": 5}},
        jobs=[
            {"name": "a", "aoi": {"file": "a.gpkg"}},
            {"name": "b", "aoi": BOX, "dates": {"last": "8w"}, "output": {"root": "y"}},
        ],
    )
    first, second = load_campaign(path, ["aoi.clip=true", "dates.last=4w"], out="z").make_jobs()
    assert first.aoi.file == str(tmp_path / "a.gpkg")
    assert (first.aoi.buffer, first.aoi.clip) == (5, True)
    assert (first.dates.last, first.dates.start, second.dates.last) == ("4w", None, "4w")
    assert (first.output.root, first.output.format) == ("z", "gtiff")
    second = load_campaign(path).make_jobs()[1]
    assert (second.dates.last, second.dates.start) == ("8w", None)
    assert (second.output.root, second.output.format) == ("y", "gtiff")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"jobs": [job("ok"), job("bad", band=[])]}, r"fields: job bad: band is not a key; did you mean bands\?$"),
        ({"jobs": [job(name, transport="x") for name in "ab"]}, r"job a: transport is 'x'.*\(and 1 more job"),
        ({"jobs": [{"aoi": BOX}]}, r"job without a name: name is ''"),
        ({"jobs": [job("A"), job("a")]}, r"A, a would share a folder"),
        ({"job": []}, r"job is not a key; did you mean jobs\?"),
        ({"periods": [2023]}, r"periods is \[2023\]"),
        ({}, r"there are no jobs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_job(tmp_path, content, expected):
    with pytest.raises(ConfigError, match=expected):
        load_campaign(campaign_file(tmp_path, defaults=S2, **content))


def test_only_some_and_a_name_that_is_not_there():
    jobs = Campaign(defaults=S2, jobs=[{"name": name, "aoi": BOX} for name in ("north", "south")]).make_jobs()
    assert [job.name for job in chosen(jobs, ["south"])] == ["south"]
    assert chosen(jobs, []) == jobs
    with pytest.raises(ConfigError, match=r"There is no job 'nort' among the 2 of the campaign; some are north"):
        chosen(jobs, ["nort"])
