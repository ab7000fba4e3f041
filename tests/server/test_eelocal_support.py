"""Assets whose pixels say where they are, and the client connected to a server of them. Used by the other modules."""

import json
import os
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import ee
import numpy as np
from google.auth.credentials import AnonymousCredentials
from pyproj import Transformer
from shapely import box
from shapely.geometry import Polygon

from eelocal import Assets, Band, LocalEarthEngine

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("EEFLOW_SHARED_DATA", ROOT.parent / "shared" / "data"))
SHARED_REFERENCE = Path(os.environ.get("EEFLOW_SHARED_REFERENCE", ROOT.parent / "shared" / "reference"))


class CodedImage:
    """Pixels of band k at (row, col) of level n: (k + 1) * 10000 + row * 100 + col, in its own type."""

    def __init__(
        self,
        image_id,
        *,
        bands=("B1", "B2"),
        crs="EPSG:32631",
        transform=(10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0),
        size=(40, 30),
        dtype="uint16",
        properties=None,
        masked=None,
        function=None,
        footprint=None,
    ):
        self.id = image_id
        self.version = 1700000000000000
        self.width, self.height = size
        self.bands = tuple(Band(name, np.dtype(dtype), crs, transform, *size) for name in bands)
        self.footprint = outline(crs, transform, size) if footprint is None else footprint
        self.properties = {"system:index": image_id.rpartition("/")[2], **(properties or {})}
        self.masked = masked
        self.function = function or (lambda k, row, col: (k + 1) * 10000 + row * 100 + col)

    def read(self, band, level, col, row, width, height):
        k = [b.name for b in self.bands].index(band)
        rows, cols = np.mgrid[row : row + height, col : col + width]
        factor = 2**level
        valid = (rows >= 0) & (cols >= 0) & (rows < -(-self.height // factor)) & (cols < -(-self.width // factor))
        if self.masked is not None:
            valid &= ~self.masked(k, rows, cols)
        values = np.where(valid, self.function(k, rows, cols), 0)
        return values.astype(self.bands[k].dtype), valid


class CodedCollection:
    """Images at hand."""

    def __init__(self, collection_id, images, properties=None):
        self.id = collection_id
        self.images = images
        self.properties = properties or {}
        self.searches = []

    def search(self, start_ms, end_ms, region):
        self.searches.append((start_ms, end_ms, region))
        return iter(sorted(self.images, key=lambda image: image.id))

    def get(self, index):
        return next((image for image in self.images if image.id.endswith("/" + index)), None)


def outline(crs, transform, size):
    a, _, c, _, e, f = transform
    ring = [(c, f), (c + a * size[0], f), (c + a * size[0], f + e * size[1]), (c, f + e * size[1])]
    if crs == "EPSG:4326":
        xs, ys = zip(*ring, strict=True)
        return box(min(xs), min(ys), max(xs), max(ys))
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return Polygon([to_degrees.transform(x, y) for x, y in ring]).buffer(1e-9)


def assets(*sources):
    collections = {source.id: source for source in sources if isinstance(source, CodedCollection)}
    images = {source.id: source for source in sources if isinstance(source, CodedImage)}
    return Assets(collections=collections, images=images)


@contextmanager
def serving(*sources, **options):
    """A server of assets with the process's client connected to it; the client is given back afterwards."""
    options.setdefault("world", False)
    before = ee.data._get_state().cloud_api_base_url if ee.data.is_initialized() else None
    with LocalEarthEngine(assets=assets(*sources), **options) as engine:
        connect(engine.url)
        try:
            yield engine
        finally:
            if before is not None and before.startswith("http://127.0.0.1"):
                try:
                    connect(before)
                except OSError:
                    ee.Reset()


def connect(url):
    ee.deprecation._FetchDataCatalogStac = dict
    ee.data.setMaxRetries(0)
    ee.Initialize(AnonymousCredentials(), url=url, project="local-project")


def post(url, path, body, raw=False):
    """(status, JSON) of a request without the client."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = answer.read()
            return answer.status, found if raw else json.loads(found)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
