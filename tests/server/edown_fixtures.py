"""A pytest plugin for edown's test of the live service: it signs in to eelocal, with a key, instead (`make peers`)."""

import json

import ee
import pytest
from edown import auth

from eelocal import LocalEarthEngine


@pytest.fixture(scope="session", autouse=True)
def eelocal_for_edown(tmp_path_factory):
    key = tmp_path_factory.mktemp("key") / "key.json"
    with LocalEarthEngine(oauth=key) as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ee.deprecation, "_FetchDataCatalogStac", dict)
        patch.setenv("EDOWN_RUN_LIVE_TESTS", "1")
        patch.setenv("GEE_SERVICE_ACCOUNT", json.loads(key.read_text())["client_email"])
        patch.setenv("GEE_SERVICE_ACCOUNT_KEY", str(key))
        sign_in = auth.initialize_earth_engine
        for module in ("discovery", "download"):
            patch.setattr(f"edown.{module}.initialize_earth_engine", lambda url: sign_in(engine.url))
        yield engine
