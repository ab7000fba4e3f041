"""The paths of the API, and the operation each leads to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eelocal import operations, pictures
from eelocal.answers import Answer, Request
from eelocal.errors import EarthEngineError
from eelocal.service import Service

Handler = Callable[[Service, Request, Mapping[str, str]], Answer]


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
_TILE = _PROJECT + r"/maps/(?P<id>[^/:]+)/tiles/(?P<zoom>\d{1,9})/(?P<x>\d{1,9})/(?P<y>\d{1,9})"
ROUTES = (
    _route("GET", r"/\$discovery/rest", "discovery", operations.discovery, public=True),
    _route("GET", _PROJECT + "/algorithms", "algorithms", operations.algorithms),
    _route("GET", _PROJECT + "/config", "config", operations.project_config),
    _route("POST", _PROJECT + "/value:compute", "value:compute", operations.compute_value, heavy=True),
    _route("POST", _PROJECT + "/image:computePixels", "image:computePixels", operations.compute_pixels, heavy=True),
    _route("POST", _ASSET + ":getPixels", "assets:getPixels", operations.get_pixels, heavy=True),
    _route("GET", _ASSET + ":(?P<verb>listAssets|listImages)", "assets:list", operations.assets_list, heavy=True),
    _route("POST", _PROJECT + "/thumbnails", "thumbnails:create", pictures.thumbnails_create),
    _route("GET", _THUMBNAIL, "thumbnails:getPixels", pictures.thumbnails_pixels, heavy=True, public=True),
    _route("POST", _PROJECT + "/maps", "maps:create", pictures.maps_create),
    _route("GET", _TILE, "maps:tiles", pictures.maps_tile, heavy=True, public=True),
    _route(
        "POST", _PROJECT + "/table:computeFeatures", "table:computeFeatures", operations.compute_features, heavy=True
    ),
    _route("GET", _PROJECT + "/operations", "operations", operations.operations),
    _route("GET", _ASSET, "assets:get", operations.asset),
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
