"""The operations of the API: one function each, from a request to an answer. Knows nothing of sockets."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from eelocal.answers import Answer, Request
from eelocal.assets import Assets
from eelocal.discovery import discovery_document
from eelocal.encode import result_json
from eelocal.errors import EarthEngineError
from eelocal.evaluation import Evaluation, evaluating
from eelocal.formats import write
from eelocal.graph import Graph
from eelocal.pixels import raster
from eelocal.promote import promote
from eelocal.region import RegionTable
from eelocal.resources import get_asset, list_assets
from eelocal.signatures import algorithms_document
from eelocal.stored import load_image
from eelocal.values.geometry import Geometry, from_geojson
from eelocal.visual import visualized

_KEPT_THUMBNAILS = 1000


Handler = Callable[["Service", Request, Mapping[str, str]], Answer]


@dataclass
class Service:
    """The assets, and what must be remembered between requests."""

    assets: Assets
    time_limit: float = 300.0
    _thumbnails: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def evaluation(self) -> Evaluation:
        """State for one request."""
        return Evaluation(self.assets, time.monotonic() + self.time_limit)

    def remember_thumbnail(self, body: dict[str, Any]) -> str:
        """Keeps a request for a picture until it is fetched; the id."""
        identity = secrets.token_hex(16)
        with self._lock:
            self._thumbnails[identity] = body
            while len(self._thumbnails) > _KEPT_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return identity

    def thumbnail(self, identity: str) -> dict[str, Any]:
        """The request of a picture."""
        with self._lock:
            found = self._thumbnails.get(identity)
        if found is None:
            raise EarthEngineError(f"Thumbnail '{identity}' not found.", 404)
        return found


def evaluate(body: Mapping[str, Any]) -> Any:
    """The value of a request's expression."""
    if "expression" not in body:
        raise EarthEngineError("The request has no expression.")
    return Graph(body["expression"]).evaluate()


def discovery(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """GET $discovery/rest."""
    return Answer(discovery_document(request.url))


def algorithms(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.algorithms.list."""
    return Answer(algorithms_document())


def project_config(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.getConfig."""
    body = {"name": f"projects/{names['project']}/config", "registrationState": "REGISTERED_NOT_COMMERCIALLY"}
    return Answer(orjson.dumps(body))


def compute_value(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.value.compute."""
    with evaluating(service.evaluation()):
        value = evaluate(request.json())
        return Answer(result_json(value), pixels=value.size if isinstance(value, RegionTable) else 0)


def compute_pixels(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.image.computePixels."""
    body = request.json()
    with evaluating(service.evaluation()):
        image = promote(evaluate(body), "Image", "image:computePixels, argument 'expression'")
        return pixels_answer(image, body, None)


def get_pixels(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.assets.getPixels."""
    body = request.json()
    region = from_geojson(body["region"]) if body.get("region") else None
    with evaluating(service.evaluation()):
        return pixels_answer(load_image(names["name"]), body, region)


def pixels_answer(image: Any, body: Mapping[str, Any], region: Geometry | None) -> Answer:
    """Pixels of an image as the file a request asks for."""
    bands = body.get("bandIds") or []
    if not isinstance(bands, list):
        raise EarthEngineError("bandIds must be a list of strings.")
    grid = body.get("grid")
    if grid is not None and not isinstance(grid, dict):
        raise EarthEngineError("The grid must be an object.")
    file_format = body.get("fileFormat") or "AUTO_JPEG_PNG"
    if not isinstance(file_format, str):
        raise EarthEngineError("The fileFormat must be a string.")
    options = body.get("visualizationOptions")
    if options is not None and not isinstance(options, dict):
        raise EarthEngineError("The visualizationOptions must be an object.")
    shown = visualized(image, bands, options) if options else image
    wanted = raster(shown, grid, [] if options else bands, region)
    made = write(wanted, file_format, str(body.get("filenamePrefix") or "download"))
    return Answer(made.body, made.type, pixels=wanted.grid.width * wanted.grid.height * len(wanted.bands))


def asset(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.assets.get."""
    return Answer(orjson.dumps(get_asset(service.assets, names["name"])))


def assets_list(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.assets.listAssets, and listImages of older clients."""
    page = list_assets(service.assets, names["name"], request.parameters)
    if names.get("verb") == "listImages" and "assets" in page:
        page["images"] = page.pop("assets")
    return Answer(orjson.dumps(page))


def thumbnails_create(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.thumbnails.create."""
    identity = service.remember_thumbnail(request.json())
    return Answer(orjson.dumps({"name": f"projects/{names['project']}/thumbnails/{identity}"}))


def thumbnails_pixels(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.thumbnails.getPixels."""
    body = service.thumbnail(names["id"])
    with evaluating(service.evaluation()):
        image = promote(evaluate(body), "Image", "thumbnails:getPixels, argument 'expression'")
        return pixels_answer(image, body, None)


def operations(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.operations.list: there is no batch system here."""
    return Answer(b"{}")


@dataclass(frozen=True)
class Route:
    """A method and path, the operation's name in counts, and what answers it.

    Attributes:
        heavy: it evaluates, so that it must pass the gate.
        public: it needs no credentials: https://developers.google.com/earth-engine/reference/rest.
    """

    method: str
    pattern: re.Pattern[str]
    operation: str
    handler: Handler
    heavy: bool = False
    public: bool = False


def _route(method: str, pattern: str, operation: str, handler: Handler, **marks: bool) -> Route:
    return Route(method, re.compile(pattern), operation, handler, **marks)


_PROJECT = r"/v1/projects/(?P<project>[^/:]+)"
_ASSET = r"/v1/(?P<name>projects/[^/:]+(?:/assets(?:/[^:]*)?)?)"
_THUMBNAIL = _PROJECT + "/thumbnails/(?P<id>[^/:]+):getPixels"  # whoever has the URL may fetch it
ROUTES = (
    _route("GET", r"/\$discovery/rest", "discovery", discovery, public=True),
    _route("GET", _PROJECT + "/algorithms", "algorithms", algorithms),
    _route("GET", _PROJECT + "/config", "config", project_config),
    _route("POST", _PROJECT + "/value:compute", "value:compute", compute_value, heavy=True),
    _route("POST", _PROJECT + "/image:computePixels", "image:computePixels", compute_pixels, heavy=True),
    _route("POST", _ASSET + ":getPixels", "assets:getPixels", get_pixels, heavy=True),
    _route("GET", _ASSET + ":(?P<verb>listAssets|listImages)", "assets:list", assets_list, heavy=True),
    _route("POST", _PROJECT + "/thumbnails", "thumbnails:create", thumbnails_create),
    _route("GET", _THUMBNAIL, "thumbnails:getPixels", thumbnails_pixels, heavy=True, public=True),
    _route("GET", _PROJECT + "/operations", "operations", operations),
    _route("GET", _ASSET, "assets:get", asset),
)


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route of a request; 404 or 405 in JSON if there is none."""
    matches = [(route, route.pattern.fullmatch(path)) for route in ROUTES]
    found = [(route, match.groupdict()) for route, match in matches if match]
    exact = [pair for pair in found if pair[0].method == method]
    if exact:
        return exact[0]
    if found:
        raise EarthEngineError(f"Method {method} is not allowed for {path}.", 405)
    raise EarthEngineError(f"The requested URL {path[:200]} was not found on this server.", 404)


def operation_of(method: str, path: str) -> str:
    """The operation's name in counts."""
    try:
        return find_route(method, path)[0].operation
    except EarthEngineError:
        return "unknown"
