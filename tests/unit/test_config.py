"""What a job may say, and the one line it gets for what it may not."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from eeflow.config import Job, digest, safe_name
from eeflow.errors import ConfigError, UserError
from eeflow.jobfile import load_job, parse_job
from eeflow.options import Dates

MINIMAL = {
    "name": "farm",
    "aoi": {"bbox": [4.0, 50.0, 4.1, 50.1]},
    "collection": "COPERNICUS/S2_SR_HARMONIZED",
    "dates": {"start": "2019-05-01", "end": "2019-06-01"},
}


def job(**changes):
    return parse_job({**MINIMAL, **changes}, source="farm.yaml")


def error_of(**changes):
    with pytest.raises(ConfigError) as caught:
        job(**changes)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("farm.yaml: ")
    return text.removeprefix("farm.yaml: ")


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "jobs" / "farm.yaml"
    path.parent.mkdir()
    path.write_text(
        "name: farm\n"
        "aoi: {file: shapes/farm.gpkg}\n"
        "collection: COPERNICUS/S2_SR_HARMONIZED\n"
        "bands: [B4, B3]\n"
        "dates: {start: 2019-05-01, end: 2019-06-01}\n",
        encoding="utf-8",
    )
    return path


def write(folder, text):
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_minimal_job_has_the_documented_defaults():
    plain = job()
    assert plain.grid.crs == "native"
    assert plain.grid.resolution is None
    assert plain.output.root == "data"
    assert plain.output.format == "cog"
    assert plain.limits.max_requests == 5000
    assert plain.limits.max_gib == 50
    assert plain.bands == []
    assert plain.folder == Path("data/farm")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gird": {}}, "gird is not a key; did you mean grid?"),
        ({"grid": {"resolutoin": 10}}, "grid.resolutoin is not a key; did you mean resolution?"),
        ({"aoi": {"bbox": [0, 0, 1, 1], "buffr": 5}}, "aoi.buffr is not a key; did you mean buffer?"),
        ({"filters": {"CLOUDS": {"ltt": 5}}}, "filters.CLOUDS.ltt is not a key; did you mean lt?"),
        ({"dates": {"start": "2019-05-01", "ends": "2019-06-01"}}, "dates.ends is not a key; did you mean end?"),
        ({"output": {"formt": "cog"}}, "output.formt is not a key; did you mean format?"),
        ({"limits": {"max_gb": 1}}, "limits.max_gb is not a key; did you mean max_gib?"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(changes, expected):
    assert error_of(**changes) == expected


def test_unknown_key_like_no_other_lists_the_known_ones():
    text = error_of(zzzzzz=1)
    assert text.startswith("zzzzzz is not a key; known keys: name, aoi, collection,")


def test_missing_key_is_named():
    with pytest.raises(ConfigError, match=r"^job: aoi is missing; it is required$"):
        parse_job({key: value for key, value in MINIMAL.items() if key != "aoi"})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grid": {"resolution": -10}}, "grid.resolution is -10; it must be greater than 0"),
        ({"grid": {"resolution": 0}}, "grid.resolution is 0; it must be greater than 0"),
        ({"grid": {"resolution": float("inf")}}, "grid.resolution is inf; it must be a finite number"),
        ({"grid": None}, "grid is None; it must be a mapping of keys to values"),
        ({"aoi": "farm.gpkg"}, "aoi is 'farm.gpkg'; it must be a mapping of keys to values"),
        ({"bands": "B4"}, "bands is 'B4'; it must be a valid list"),
        ({"output": {"format": "png"}}, "output.format is 'png'; it must be 'cog' or 'gtiff'"),
        ({"limits": {"max_requests": 0}}, "limits.max_requests is 0; it must be greater than 0"),
        ({"name": 2019}, "name is 2019; it must be a valid string"),
    ],
)
def test_wrong_value_is_quoted_with_what_is_allowed(changes, expected):
    assert error_of(**changes) == expected


def test_all_mistakes_are_told_at_once():
    assert error_of(bands="B4", grid={"resolution": -1}) == (
        "bands is 'B4'; it must be a valid list; grid.resolution is -1; it must be greater than 0"
    )


@pytest.mark.parametrize(
    ("aoi", "expected"),
    [
        ({}, "aoi gives no area; give exactly one of file, bbox or geojson"),
        (
            {"file": "a.gpkg", "bbox": [0, 0, 1, 1]},
            "aoi gives file and bbox; give exactly one of file, bbox or geojson",
        ),
        (
            {"bbox": [1, 0, 0, 1]},
            "aoi has bbox [1.0, 0.0, 0.0, 1.0]; it must be [west, south, east, north] with west < east and "
            "south < north",
        ),
        (
            {"bbox": [0, 1, 1, 1]},
            "aoi has bbox [0.0, 1.0, 1.0, 1.0]; it must be [west, south, east, north] with west < east and "
            "south < north",
        ),
        (
            {"bbox": [0, 0, 1, 1], "where": "crop = 'wheat'"},
            "aoi gives layer or where without a file; they choose features of a file",
        ),
    ],
)
def test_area_must_come_from_one_source(aoi, expected):
    assert error_of(aoi=aoi) == expected


def test_nan_in_a_bbox_is_refused():
    assert "it must be [west, south, east, north]" in error_of(aoi={"bbox": [float("nan"), 0, 1, 1]})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image": "USGS/SRTMGL1_003"}, "the job needs exactly one of collection and image"),
        ({"collection": None}, "the job needs exactly one of collection and image"),
    ],
)
def test_source_is_one_thing(changes, expected):
    assert error_of(**changes) == expected


def test_single_image_needs_no_dates():
    single = job(collection=None, dates=None, image="USGS/SRTMGL1_003")
    assert single.image == "USGS/SRTMGL1_003"


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc", ".hidden", "", "a b", "a\n", "..", "-x", "é", "x" * 101])
def test_name_that_could_leave_the_folder_is_refused(name):
    text = error_of(name=name)
    assert text.startswith(f"name is {name!r}; it names a folder, so use letters, digits, dot, dash and underscore")


@pytest.mark.parametrize("name", ["herne-farm", "a", "9.b_c-D", "x" * 100])
def test_plain_name_is_taken(name):
    assert job(name=name).name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../../etc/passwd", "etc_passwd"),
        ("20190501T1/2", "20190501T1_2"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("ok-1.2_x", "ok-1.2_x"),
        ("a" * 150, "a" * 100),
    ],
)
def test_safe_name(text, expected):
    assert safe_name(text) == expected


def test_conditions_must_say_something():
    assert error_of(filters={"CLOUDS": {}}).startswith("filters.CLOUDS gives no condition; give one or more of eq, ne,")


def test_in_is_a_list_of_choices():
    assert job(filters={"MGRS_TILE": {"in": ["31UES", "31UFS"]}}).filters["MGRS_TILE"].within == ["31UES", "31UFS"]


def test_end_is_exclusive_and_both_ends_are_utc_midnights():
    start, end = Dates(start="2019-05-01", end="2019-06-01").resolve()
    assert start == datetime(2019, 5, 1, tzinfo=UTC)
    assert end == datetime(2019, 6, 1, tzinfo=UTC)


def test_last_ends_with_the_whole_day_of_now():
    now = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    # 30 days that end with 1 March 2026: 31 January (1 day), February (28), 1 March (1).
    assert Dates(last="30d").resolve(now) == (datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    assert Dates(last="1d").resolve(now) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    assert Dates(last="2w").resolve(now) == (datetime(2026, 2, 16, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


def test_last_counts_in_utc_wherever_the_clock_is():
    now = datetime(2026, 3, 2, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))  # still 1 March in UTC
    assert Dates(last="1d").resolve(now)[1] == datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("last", ["30", "d", "0d", "-3d", "3m", "3 d", "30D", ""])
def test_look_back_must_be_days_or_weeks(last):
    assert error_of(dates={"last": last}) == f"dates has last {last!r}; it must be days or weeks, such as 30d or 8w"


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({}, "dates needs start and end, or last"),
        ({"start": "2019-05-01"}, "dates needs start and end, or last"),
        ({"last": "30d", "start": "2019-05-01"}, "dates gives both last and start/end; give one of the two"),
        (
            {"start": "2019-05-01", "end": "2019-05-01"},
            "dates has start 2019-05-01 and end 2019-05-01; end is exclusive and must be after start",
        ),
        (
            {"start": "2019-06-01", "end": "2019-05-01"},
            "dates has start 2019-06-01 and end 2019-05-01; end is exclusive and must be after start",
        ),
    ],
)
def test_period_must_make_sense(dates, expected):
    assert error_of(dates=dates) == expected


def test_time_of_day_is_refused_in_plain_words():
    text = error_of(dates={"start": datetime(2019, 5, 1, 12), "end": "2019-06-01"})
    assert text.startswith("dates.start is 2019-05-01 12:00:00: ")


def test_aoi_file_is_relative_to_the_job_file(job_file):
    assert load_job(job_file).aoi.file == str(job_file.parent / "shapes" / "farm.gpkg")


def test_absolute_aoi_file_stays(job_file, tmp_path):
    elsewhere = tmp_path / "elsewhere.gpkg"
    assert load_job(job_file, [f"aoi.file={elsewhere}"]).aoi.file == str(elsewhere)


def test_overrides_reach_nested_keys_and_are_read_as_yaml(job_file):
    changed = load_job(
        job_file,
        ["grid.resolution=20", "bands=[B8, B8A]", "filters.CLOUDS.lt=12.5", "name=other", "output.quicklook=false"],
    )
    assert changed.grid.resolution == 20
    assert changed.bands == ["B8", "B8A"]
    assert changed.filters["CLOUDS"].lt == 12.5
    assert changed.name == "other"
    assert changed.output.quicklook is False


def test_override_value_may_hold_an_equals_sign(job_file):
    assert load_job(job_file, ["aoi.where=crop = 'wheat'"]).aoi.where == "crop = 'wheat'"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("grid.resolution", r"^--set 'grid.resolution' has no value; write --set dotted.key=value\.$"),
        ("=5", r"^--set '=5' has no value"),
        ("name.x=1", r"^--set 'name.x=1': name is 'farm', which has no keys below it\.$"),
        ("grid.resolutoin=5", r"grid.resolutoin is not a key; did you mean resolution\?$"),
    ],
)
def test_wrong_override_is_named(job_file, override, expected):
    with pytest.raises(ConfigError, match=expected):
        load_job(job_file, [override])


def test_out_replaces_the_root_even_of_an_empty_section(job_file, tmp_path):
    assert load_job(job_file, out=tmp_path / "x").folder == tmp_path / "x" / "farm"
    job_file.write_text(job_file.read_text(encoding="utf-8") + "output:\n", encoding="utf-8")
    assert load_job(job_file, out=tmp_path / "x").folder == tmp_path / "x" / "farm"
    assert load_job(job_file, ["output.root=y"]).folder == Path("y/farm")


def test_out_beside_a_section_of_the_wrong_kind_is_still_one_line(tmp_path):
    path = write(tmp_path, "name: a\ncollection: C\ndates: {last: 3d}\naoi: {bbox: [0, 0, 1, 1]}\noutput: here\n")
    with pytest.raises(ConfigError, match=r"output is 'here'; it must be a mapping of keys to values$"):
        load_job(path, out=tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [a\n", r"job\.yaml is not valid YAML at line 2: "),
        ("- name\n", r"job\.yaml holds no mapping of keys to values; a job starts with `name: \.\.\.`\.$"),
        ("", r"job\.yaml holds no mapping"),
        ("name: a\nname: b\n", r"job\.yaml is not valid YAML at line 1: the key name is given twice\.$"),
        ("grid:\n  crs: utm\n  crs: native\n", r"at line 2: the key crs is given twice\.$"),
    ],
)
def test_unreadable_yaml_says_where(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=expected):
        load_job(write(tmp_path, text))


def test_missing_file_and_binary_file_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read: No such file or directory\. Give the path"):
        load_job(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml cannot be read: not a UTF-8 text file\."):
        load_job(tmp_path / "binary.yaml")


def test_user_mistakes_are_value_errors():
    assert issubclass(ConfigError, UserError)
    assert issubclass(UserError, ValueError)


def test_content_hash_is_the_same_whatever_the_output_limits_and_transport():
    plain = job().content_hash()
    assert job(output={"root": "/elsewhere", "format": "gtiff", "quicklook": False}).content_hash() == plain
    assert job(limits={"max_requests": 1}).content_hash() == plain
    assert job(name="other").content_hash() == plain
    assert job(region="points", packing="off", fan_out="bands", transport="get_region").content_hash() == plain


@pytest.mark.parametrize(
    "changes",
    [
        {"collection": "COPERNICUS/S2_SR"},
        {"bands": ["B4"]},
        {"dates": {"start": "2019-05-01", "end": "2019-06-02"}},
        {"aoi": {"bbox": [4.0, 50.0, 4.1, 50.2]}},
        {"aoi": {"bbox": [4.0, 50.0, 4.1, 50.1], "clip": True}},
        {"filters": {"CLOUDS": {"lt": 5}}},
        {"grid": {"resolution": 20}},
    ],
)
def test_content_hash_changes_with_what_decides_pixels(changes):
    assert job(**changes).content_hash() != job().content_hash()


def test_band_order_is_content():
    assert job(bands=["B4", "B3"]).content_hash() != job(bands=["B3", "B4"]).content_hash()


def test_digest_ignores_key_order_and_is_sha256():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    # sha256 of the JSON text null, from coreutils: printf null | sha256sum
    assert digest(None) == "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"


@pytest.mark.parametrize(
    ("dates", "title"),
    [
        ({"start": "2019-05-01", "end": "2019-06-01"}, "2019-05"),
        ({"start": "2019-12-01", "end": "2020-01-01"}, "2019-12"),
        ({"start": "2019-01-01", "end": "2020-01-01"}, "2019"),
        ({"start": "2019-05-01", "end": "2019-07-01"}, "2019-05 to 2019-06"),
        ({"start": "2018-01-01", "end": "2020-01-01"}, "2018 to 2019"),
        ({"start": "2019-05-02", "end": "2019-06-01"}, "2019-05-02 to 2019-05-31"),
        ({"start": "2019-05-31", "end": "2019-06-01"}, "2019-05-31"),
    ],
)
def test_a_period_has_a_short_title(dates, title):
    assert Dates(**dates).title == title


def test_what_is_wrong_is_found_at_its_field_by_the_keywords_that_prefects_form_hands_on():
    """The form drops all others from a field, and those of its model, but nothing within `anyOf` or `allOf`."""
    known = {"$ref", "anyOf", "allOf", "const", "enum", "format", "items", "prefixItems", "required", "type"}
    known |= {"minItems", "maxItems"}

    def handed_on(schema):
        fields = {name: handed_on(field) for name, field in schema.get("properties", {}).items()}
        return {key: value for key, value in schema.items() if key in known} | {"properties": fields}

    schema = Job.model_json_schema()
    model = handed_on(schema) | {"$defs": {name: handed_on(part) for name, part in schema["$defs"].items()}}
    wrong = {
        "name": "not a name!",
        "aoi": {"bbox": [1, 2, 3]},
        "dates": {"last": "soon"},
        "grid": {"resolution": -10, "resampling": "cubic"},
        "product": {"every": "week", "min_valid_fraction": 2},
        "clouds": {"threshold": 7, "max_fraction": -0.1},
        "limits": {"max_requests": 0, "max_requests_per_month": 0},
        "sync": {"look_back": "soon"},
        "retention": {"keep": "1y"},
        "workload_tag": "No",
    }
    errors = Draft202012Validator(model).iter_errors(wrong)
    found = {".".join(map(str, error.absolute_path)) for error in errors}
    assert found == {
        "name", "aoi.bbox", "dates", "grid.resolution", "grid.resampling", "product.every",
        "product.min_valid_fraction", "clouds.threshold", "clouds.max_fraction", "limits.max_requests",
        "limits.max_requests_per_month", "sync.look_back", "retention.keep", "workload_tag",
    }  # fmt: skip
