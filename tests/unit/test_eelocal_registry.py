"""The registry against the list of algorithms inside the client's wheel."""

import inspect
import json
from pathlib import Path

import ee
import pytest

from eelocal.registry import parameter, registry
from eelocal.signatures import signatures

LISTED = json.loads((Path(ee.__file__).parent / "tests" / "algorithms.json").read_text())["algorithms"]
ARGUMENTS = {a["name"].removeprefix("algorithms/"): [g["argumentName"] for g in a.get("arguments", [])] for a in LISTED}


@pytest.mark.parametrize("name", sorted(registry()))
def test_registered_algorithm_is_earth_engines_with_its_arguments(name):
    assert name in ARGUMENTS
    parameters = list(inspect.signature(registry()[name].function).parameters)
    assert sorted(parameters) == sorted(parameter(argument) for argument in ARGUMENTS[name])


def test_signatures_have_all_algorithms():
    assert len(signatures()) == len(LISTED) == 991


def test_every_registered_function_says_what_one_gets():
    undocumented = [
        name
        for name, found in registry().items()
        if not found.function.__doc__ and "<locals>" not in found.function.__qualname__
    ]
    assert undocumented == []


def test_what_the_pipeline_and_the_recorded_client_send_is_there():
    sent = """
    AggregateFeatureCollection.array Collection Collection.filter Collection.first Collection.geometry
    Collection.map Collection.size DateRange Feature Filter.dateRangeContains Filter.intersects
    Filter.lessThan GeometryConstructors.MultiPoint GeometryConstructors.Point GeometryConstructors.Polygon
    Image.and Image.bandNames Image.clipToBoundsAndScale Image.constant Image.copyProperties Image.divide
    Image.gte Image.linkCollection Image.load Image.lt Image.neq Image.projection Image.reduceRegion
    Image.sampleRectangle Image.sampleRegions Image.select Image.updateMask Image.visualize
    ImageCollection.fromImages ImageCollection.getRegion ImageCollection.load Number.add Projection
    Reducer.mean
    """
    assert set(sent.split()) <= set(registry())


def test_coverage_table_of_the_documentation_is_current():
    from eelocal.coverage import table

    document = Path(__file__).resolve().parents[2] / "docs" / "eelocal.md"
    assert table() in document.read_text("utf-8"), "run: python -m eelocal.coverage docs/eelocal.md"
