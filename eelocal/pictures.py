"""Pictures of images: the files a request for pixels asks for, thumbnails, and the tiles of maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from eelocal.answers import Answer, Request
from eelocal.errors import EarthEngineError
from eelocal.evaluation import evaluating
from eelocal.formats import write
from eelocal.pixels import raster
from eelocal.promote import promote
from eelocal.service import Service, evaluate
from eelocal.values.geometry import Geometry
from eelocal.visual import visualized

_TILE = 256  # pixels a side
_MAX_ZOOM = 24
_EQUATOR = 40_075_016.68557849  # metres of EPSG:3857 around the Earth


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


def thumbnails_create(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.thumbnails.create."""
    identity = service.keep(request.json())
    return Answer(orjson.dumps({"name": f"projects/{names['project']}/thumbnails/{identity}"}))


def thumbnails_pixels(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.thumbnails.getPixels."""
    body = service.kept("Thumbnail", names["id"])
    with evaluating(service.evaluation()):
        image = promote(evaluate(body), "Image", "thumbnails:getPixels, argument 'expression'")
        return pixels_answer(image, body, None)


def maps_create(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.maps.create."""
    return Answer(orjson.dumps({"name": f"projects/{names['project']}/maps/{service.keep(request.json())}"}))


def maps_tile(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.maps.tiles.get: 256 x 256 pixels of Web Mercator."""
    body = service.kept("Map", names["id"])
    with evaluating(service.evaluation()):
        image = promote(evaluate(body), "Image", "maps:tiles, argument 'expression'")
        return pixels_answer(image, {"visualizationOptions": {"ranges": []}, **body, "grid": _tile_grid(names)}, None)


def _tile_grid(names: Mapping[str, str]) -> dict[str, Any]:
    zoom, x, y = (int(names[part]) for part in ("zoom", "x", "y"))
    if zoom > _MAX_ZOOM or not (x < 2**zoom and y < 2**zoom):
        raise EarthEngineError(f"There is no tile {zoom}/{x}/{y}: zoom goes to {_MAX_ZOOM}, x and y to 2**zoom - 1.")
    side = _EQUATOR / 2**zoom
    affine = {
        "scaleX": side / _TILE,
        "translateX": x * side - _EQUATOR / 2,
        "scaleY": -side / _TILE,
        "translateY": _EQUATOR / 2 - y * side,
    }
    return {"dimensions": {"width": _TILE, "height": _TILE}, "affineTransform": affine, "crsCode": "EPSG:3857"}
