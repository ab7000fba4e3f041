"""The operations of the API: one function each, from a request to an answer. Knows nothing of sockets.

Pictures and maps are in `eelocal.pictures`, the paths of all in `eelocal.routes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import orjson

from eelocal.answers import Answer, Request
from eelocal.discovery import discovery_document
from eelocal.encode import encode, result_json
from eelocal.errors import EarthEngineError
from eelocal.evaluation import evaluating
from eelocal.pictures import pixels_answer
from eelocal.promote import promote
from eelocal.region import RegionTable
from eelocal.resources import get_asset, list_assets
from eelocal.service import Service, evaluate
from eelocal.signatures import algorithms_document
from eelocal.stored import load_image
from eelocal.values.element import Element, Feature
from eelocal.values.geometry import Geometry, from_geojson

_PAGE = 1000  # features of a page: ee.data.computeFeatures


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


def compute_features(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.table.computeFeatures: a page of features in degrees, with straight edges."""
    body = request.json()
    size, token = body.get("pageSize", 0) or _PAGE, body.get("pageToken") or "0"
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise EarthEngineError(f"Invalid pageSize: {str(size)[:50]}.")
    if not isinstance(token, str) or not token.isdecimal() or len(token) > 12:
        raise EarthEngineError(f"Invalid pageToken: '{str(token)[:50]}'.")
    start, count = int(token), min(size, _PAGE)
    with evaluating(service.evaluation()):
        where = "table:computeFeatures, argument 'expression'"
        collection = promote(evaluate(body), "FeatureCollection", where)
        found = list(itertools.islice(collection.elements(), start, start + count + 1))
        features = [encode(_planar(element)) for element in found[:count]]
    more = {"nextPageToken": str(start + count)} if len(found) > count else {}
    return Answer(orjson.dumps({"type": "FeatureCollection", "features": features, **more}))


def _planar(element: Element) -> Feature:
    place = element.geometry
    return Feature(Geometry(place.lonlat) if place is not None else None, element.properties)


def asset(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.assets.get."""
    return Answer(orjson.dumps(get_asset(service.assets, names["name"])))


def assets_list(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.assets.listAssets, and listImages of older clients."""
    page = list_assets(service.assets, names["name"], request.parameters)
    if names.get("verb") == "listImages" and "assets" in page:
        page["images"] = page.pop("assets")
    return Answer(orjson.dumps(page))


def operations(service: Service, request: Request, names: Mapping[str, str]) -> Answer:
    """projects.operations.list: there is no batch system here."""
    return Answer(b"{}")
