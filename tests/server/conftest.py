"""eelocal for a test session, and the real `ee` client connected to it."""

import sys
from pathlib import Path

import ee
import pytest
from google.auth.credentials import AnonymousCredentials

from eelocal import LocalEarthEngine

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def local_ee():
    """A running eelocal with the generated world; the process's `ee` client is initialised against it."""
    with LocalEarthEngine() as engine:
        connect(engine.url)
        yield engine


@pytest.fixture(scope="module")
def geedim_engine(tmp_path_factory):
    """eelocal on the peers' scenes, with a geedim that looks nothing up on the internet."""
    from peer_scenes import peer_world, without_catalogue

    with pytest.MonkeyPatch.context() as patch, peer_world(tmp_path_factory.mktemp("scenes")) as engine:
        without_catalogue(patch)
        yield engine


@pytest.fixture(scope="module")
def truth(geedim_engine):
    """What those scenes' files hold."""
    return geedim_engine.truth


def connect(url):
    """Points the real client at a server; its read of a public catalogue over the internet is left out."""
    ee.deprecation._FetchDataCatalogStac = dict
    ee.data.setMaxRetries(0)
    ee.Initialize(AnonymousCredentials(), url=url, project="local-project")
