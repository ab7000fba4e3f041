"""Fixtures of the unit tests, and how far hypothesis goes: enough to find mistakes, within seconds."""

import ee
import ee.apitestcase
import pytest
from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=60)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def offline_ee():
    """The real client, taught by the list of algorithms in its own package. Later initialising is not in its way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ee.data, "getAlgorithms", ee.apitestcase.GetAlgorithms)
        for kind in (ee.ApiFunction, ee.Element, ee.Collection, ee.Image, ee.Feature, ee.ImageCollection):
            kind.initialize()
        for kind in (ee.FeatureCollection, ee.Filter, ee.Geometry, ee.List, ee.Number, ee.String, ee.Projection):
            kind.initialize()
        yield ee
