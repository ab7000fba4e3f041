"""Evaluates Earth Engine expression graphs over synthetic scenes: one function per algorithm, by its own name.

Only what a downloader may send is here; any other algorithm is an HTTP 400 that names it. Argument names are Earth
Engine's, as in the client's own list of algorithms; values reach the functions by those names.
"""

# ruff: noqa: N803, PLW0108

import dataclasses
import datetime
import itertools
import math
import operator
import re

import numpy as np
import pyproj
import shapely
from coded_world import (
    INT_LIMITS,
    parse_crs,
    reproject,
    reproject_geometry,
    to_milliseconds,
)

MAX_VALUES = 1_048_576
MAX_ELEMENTS = 5_000
MAX_PIXEL_BYTES = 50_331_648
MAX_SIDE = 32_768
WGS84 = "EPSG:4326"
UNIT = (1, 0, 0, 0, 1, 0)
EARTH_RADIUS = 6378137
SPHERE = pyproj.Geod(a=6371007.1809184747, b=6371007.1809184747)


class GraphError(Exception):
    """What Earth Engine would answer with HTTP 400 (or `code`)."""

    def __init__(self, message, code=400):
        super().__init__(message)
        self.code = code


# --- what a graph's values are -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Points:
    """Places to sample: coordinates of `crs`, x east."""

    xs: np.ndarray
    ys: np.ndarray
    crs: str


@dataclasses.dataclass(frozen=True)
class Band:
    """`sample(points)` gives (values, valid)."""

    name: str
    data_type: dict
    crs: str
    transform: tuple
    dimensions: tuple | None
    sample: object

    def info(self):
        found = {"id": self.name, "data_type": self.data_type}
        if self.dimensions:
            found["dimensions"] = list(self.dimensions)
        return found | {"crs": self.crs, "crs_transform": [plain_number(v) for v in self.transform]}


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A shapely shape in a CRS; `geodesic` edges follow great circles."""

    shape: object
    crs: str = WGS84
    geodesic: bool = True

    def in_crs(self, crs):
        """The shape in another CRS, its edges followed closely."""
        shape = self.shape
        if shape.is_empty or shape.geom_type in ("Point", "MultiPoint"):
            return reproject_geometry(shape, self.crs, crs)
        if self.geodesic and self.crs == WGS84:
            return reproject_geometry(_along_great_circles(shape), WGS84, crs)
        if parse_crs(self.crs) == parse_crs(crs):
            return shape
        return reproject_geometry(shapely.segmentize(shape, shape.length / 400 or 1), self.crs, crs)

    @property
    def lonlat(self):
        """The shape in degrees."""
        return self.in_crs(WGS84)

    def info(self):
        found = shapely.geometry.mapping(self.shape)
        if self.crs != WGS84:
            found["crs"] = {"type": "name", "properties": {"name": self.crs}}
        return found | {"geodesic": self.geodesic}


@dataclasses.dataclass(frozen=True)
class Element:
    """An image or a feature: `geometry` is None where unbounded (images) or missing (features)."""

    properties: dict
    geometry: Geometry | None = None

    def get(self, name):
        return self.properties.get(name)

    def with_properties(self, properties):
        return dataclasses.replace(self, properties=properties)


@dataclasses.dataclass(frozen=True)
class Feature(Element):
    """A geometry with properties."""

    def info(self):
        own = {k: v for k, v in self.properties.items() if k != "system:index"}
        found = {"type": "Feature", "geometry": to_json(self.geometry), "properties": to_json(own)}
        if "system:index" in self.properties:
            found["id"] = self.properties["system:index"]
        return found


@dataclasses.dataclass(frozen=True)
class Image(Element):
    """Bands with properties; `covers(points)` is True where the image's footprint has the point."""

    bands: tuple[Band, ...] = ()
    asset_id: str | None = None
    version: int | None = None
    covers: object = lambda points: np.ones(points.xs.shape, dtype=bool)

    def get(self, name):
        special = {
            "system:id": self.asset_id,
            "system:version": self.version,
            "system:band_names": [band.name for band in self.bands],
        }
        return special[name] if name in special else self.properties.get(name)

    def band(self, name):
        return next((band for band in self.bands if band.name == name), None)

    def info(self):
        found = {"type": "Image", "bands": [band.info() for band in self.bands]}
        if self.version is not None:
            found["version"] = self.version
        if self.asset_id is not None:
            found["id"] = self.asset_id
        return found | {"properties": to_json(self.properties)}


@dataclasses.dataclass(frozen=True)
class Collection:
    """Elements in order."""

    elements: tuple
    asset_id: str | None = None
    images: bool = True
    version: int | None = None

    def info(self):
        if len(self.elements) > MAX_ELEMENTS:
            raise GraphError(f"Collection query aborted after accumulating over {MAX_ELEMENTS} elements.")
        if not self.images:
            return {
                "type": "FeatureCollection",
                "columns": {},
                "features": [to_json(element) for element in self.elements],
            }
        found = {"type": "ImageCollection", "bands": [], "features": to_json(self.elements), "properties": {}}
        if self.asset_id:
            found |= {"id": self.asset_id, "version": self.version}
        return found


@dataclasses.dataclass(frozen=True)
class Projection:
    """A CRS with the crs_transform of its pixels."""

    crs: str = WGS84
    transform: tuple = UNIT

    def info(self):
        return {
            "type": "Projection",
            "crs": self.crs,
            "transform": [plain_number(v) for v in self.transform],
        }


@dataclasses.dataclass(frozen=True)
class Date:
    """UTC milliseconds."""

    milliseconds: int

    @property
    def moment(self):
        return datetime.datetime.fromtimestamp(self.milliseconds / 1000, datetime.UTC)

    def info(self):
        return {"type": "Date", "value": self.milliseconds}


@dataclasses.dataclass(frozen=True)
class DateRange:
    """Start inclusive, end exclusive, in UTC milliseconds."""

    start: float
    end: float

    def info(self):
        return {"type": "DateRange", "dates": [self.start, self.end]}


@dataclasses.dataclass(frozen=True)
class Filter:
    """`test(element)` is True where kept."""

    test: object


@dataclasses.dataclass(frozen=True)
class Function:
    """A user function of the graph; `call(*values)` evaluates it."""

    call: object


@dataclasses.dataclass(frozen=True)
class Opaque:
    """A value nothing here looks into (error margins)."""

    kind: str
    arguments: dict = dataclasses.field(default_factory=dict)

    def info(self):
        return {"type": self.kind} | self.arguments


def plain_number(value):
    """An int where the number is whole, as Earth Engine prints it."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**63:
        return int(value)
    return value


def to_json(value):
    """The value as Earth Engine's answer has it."""
    if hasattr(value, "info"):
        return value.info()
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return plain_number(value)


def _along_great_circles(shape, parts=64):
    """The shape's edges cut into `parts` along spherical geodesics."""

    def ring(coordinates):
        points = np.asarray(coordinates)[:, :2]
        out = []
        for (lon1, lat1), (lon2, lat2) in itertools.pairwise(points):
            between = SPHERE.npts(lon1, lat1, lon2, lat2, parts - 1) if (lon1, lat1) != (lon2, lat2) else []
            out += [(lon1, lat1), *between]
        return [*out, tuple(points[-1])]

    if shape.geom_type == "Polygon":
        return shapely.Polygon(ring(shape.exterior.coords), [ring(hole.coords) for hole in shape.interiors])
    if shape.geom_type in ("LineString", "LinearRing"):
        return type(shape)(ring(shape.coords))
    if hasattr(shape, "geoms"):
        return type(shape)([_along_great_circles(part, parts) for part in shape.geoms])
    return shape


# --- the algorithms ------------------------------------------------------------------------------------------------

ALGORITHMS = {}
WITH_EVALUATOR = set()


def algorithm(*names, evaluator=False):
    """Register a function as the algorithm of those names; with `evaluator` it is given the `Evaluator` first."""

    def register(function):
        for name in names:
            ALGORITHMS[name] = function
            if evaluator:
                WITH_EVALUATOR.add(name)
        return function

    return register


class Evaluator:
    """One expression graph over the service's collections.

    Attributes:
        called: names of the algorithms the graph used.
        region: what getRegion asked for, if the graph has one: points, bands, images.
        column_width: degrees of longitude from its first pixel to the pixel east of it.
    """

    def __init__(self, service, expression):
        self.service = service
        self.values = expression["values"]
        self.result = expression["result"]
        self.called = set()
        self.region = None
        self.column_width = 0.0

    def run(self):
        """The value of the whole graph."""
        return self._node({"valueReference": self.result}, {}, {})

    def _node(self, node, scope, memo):
        if "constantValue" in node:
            return node["constantValue"]
        if "integerValue" in node:
            return int(node["integerValue"])
        if "valueReference" in node:
            key = node["valueReference"]
            if key not in memo:
                memo[key] = self._node(self.values[key], scope, memo)
            return memo[key]
        if "argumentReference" in node:
            return scope[node["argumentReference"]]
        if "arrayValue" in node:
            return [self._node(item, scope, memo) for item in node["arrayValue"].get("values", [])]
        if "dictionaryValue" in node:
            found = node["dictionaryValue"].get("values", {})
            return {key: self._node(item, scope, memo) for key, item in found.items()}
        if "functionDefinitionValue" in node:
            return self._function(node["functionDefinitionValue"], scope)
        if "functionInvocationValue" in node:
            return self._invoke(node["functionInvocationValue"], scope, memo)
        if not node or "nullValue" in node:
            return None
        raise GraphError(f"Unknown value node: {sorted(node)}")

    def _function(self, definition, scope):
        names = definition.get("argumentNames", [])

        def call(*values):
            inner = {**scope, **dict(zip(names, values, strict=False))}
            return self._node({"valueReference": definition["body"]}, inner, {})

        return Function(call)

    def _invoke(self, call, scope, memo):
        given = call.get("arguments", {})
        if "functionReference" in call:
            function = self._node({"valueReference": call["functionReference"]}, scope, memo)
            return function.call(*[self._node(node, scope, memo) for node in given.values()])
        name = call["functionName"]
        self.called.add(name)
        if name == "If":
            chosen = "trueCase" if self._node(given["condition"], scope, memo) else "falseCase"
            return self._node(given[chosen], scope, memo) if chosen in given else None
        if name not in ALGORITHMS:
            self.service.unknown.add(name)
            raise GraphError(f"Unknown algorithm: {name} (not in the stand-in service).")
        arguments = {key: self._node(node, scope, memo) for key, node in given.items()}
        if name in WITH_EVALUATOR:
            return ALGORITHMS[name](self, **arguments)
        return ALGORITHMS[name](**arguments)


# --- loading -------------------------------------------------------------------------------------------------------


def scene_image(collection, scene):
    """The image of a coded scene."""

    def sampler(band):
        def sample(points):
            values, valid, _ = band.sample(scene.number, points.xs, points.ys, points.crs)
            return values, valid

        return sample

    def covers(points):
        return scene.grid_band.sample(scene.number, points.xs, points.ys, points.crs)[2]

    ring = shapely.geometry.mapping(shapely.LinearRing(scene.footprint.exterior.coords))
    return Image(
        properties={
            "system:index": scene.index,
            "system:time_start": scene.time_start_ms,
            **({"system:time_end": scene.time_end_ms} if scene.time_end_ms is not None else {}),
            "system:footprint": ring,
            "system:asset_size": 1_000_000 + scene.number,
            **scene.properties,
        },
        geometry=Geometry(scene.footprint, WGS84, False),
        bands=tuple(
            Band(band.name, band.data_type, band.crs, band.transform, band.shape[::-1], sampler(band))
            for band in scene.bands
        ),
        asset_id=collection.asset_id if collection.single else f"{collection.asset_id}/{scene.index}",
        version=scene.version,
        covers=covers,
    )


def _bare(asset_id):
    return asset_id.removeprefix("projects/earthengine-public/assets/")


@algorithm("ImageCollection.load", evaluator=True)
def image_collection_load(evaluator, id, version=None):
    found = evaluator.service.collections.get(_bare(id))
    if found is None:
        raise GraphError(
            f"ImageCollection.load: ImageCollection asset '{id}' not found "
            "(does not exist or caller does not have access)."
        )
    if found.single:
        raise GraphError(f"ImageCollection.load: Asset '{id}' is not an ImageCollection.")
    images = tuple(scene_image(found, scene) for scene in sorted(found.scenes, key=lambda scene: scene.index))
    return Collection(images, found.asset_id, version=max(scene.version for scene in found.scenes))


@algorithm("Image.load", evaluator=True)
def image_load(evaluator, id, version=None):
    for collection in evaluator.service.collections.values():
        for scene in collection.scenes:
            name = collection.asset_id if collection.single else f"{collection.asset_id}/{scene.index}"
            if name == _bare(id):
                return scene_image(collection, scene)
    raise GraphError(f"Image.load: Image asset '{id}' not found (does not exist or caller does not have access).")


@algorithm("ImageCollection.fromImages", evaluator=True)
def from_images(evaluator, images):
    if evaluator.service.keep_index:
        return Collection(tuple(images))
    return Collection(tuple(_indexed(image, str(number)) for number, image in enumerate(images)))


def _indexed(element, index):
    if not isinstance(element, Element):
        return element
    return element.with_properties({**element.properties, "system:index": index})


# --- collections ---------------------------------------------------------------------------------------------------


@algorithm("Collection")
def collection_of_features(features):
    elements = [Feature({}, item) if isinstance(item, Geometry) else item for item in features]
    return Collection(tuple(_indexed(item, str(number)) for number, item in enumerate(elements)), images=False)


@algorithm("Collection.filter")
def collection_filter(collection, filter):
    return dataclasses.replace(collection, elements=tuple(e for e in collection.elements if filter.test(e)))


@algorithm("Collection.map")
def collection_map(collection, baseAlgorithm, dropNulls=False):
    out = []
    for element in collection.elements:
        try:
            result = baseAlgorithm.call(element)
        except GraphError as error:
            index = element.get("system:index") if isinstance(element, Element) else None
            raise GraphError(f"Collection.map: Error in map(ID={index}):\n{error}") from error
        if result is None and dropNulls:
            continue
        if isinstance(element, Element) and isinstance(result, Element):
            result = _indexed(result, element.get("system:index"))
        out.append(result)
    images = all(isinstance(item, Image) for item in out) if out else collection.images
    return Collection(tuple(out), collection.asset_id if images else None, images, collection.version)


def _sort_key(value):
    return (value is None, isinstance(value, str), value if value is not None else 0)


@algorithm("Collection.limit")
def collection_limit(collection, limit=None, key=None, ascending=True):
    elements = list(collection.elements)
    if key is not None:
        elements.sort(key=lambda element: _sort_key(element.get(key)), reverse=not ascending)
    return dataclasses.replace(collection, elements=tuple(elements[:limit]))


@algorithm("Collection.size")
def collection_size(collection):
    return len(collection.elements)


@algorithm("Collection.first")
def collection_first(collection):
    return collection.elements[0] if collection.elements else None


@algorithm("Collection.toList")
def collection_to_list(collection, count, offset=0):
    return list(collection.elements[offset : offset + count])


@algorithm("Collection.merge", "ImageCollection.merge")
def collection_merge(collection1, collection2):
    both = ((1, collection1), (2, collection2))
    elements = [_indexed(e, f"{n}_{e.get('system:index')}") for n, c in both for e in c.elements]
    return Collection(tuple(elements), images=collection1.images)


@algorithm("Collection.flatten")
def collection_flatten(collection):
    out = []
    for number, inner in enumerate(collection.elements):
        if isinstance(inner, Collection):
            out += [_indexed(e, f"{number}_{e.get('system:index')}") for e in inner.elements]
        else:
            out.append(inner)
    return Collection(tuple(out), images=bool(out) and all(isinstance(e, Image) for e in out))


@algorithm("Collection.distinct")
def collection_distinct(collection, properties):
    names = [properties] if isinstance(properties, str) else properties
    seen, out = set(), []
    for element in collection.elements:
        key = repr([element.get(name) for name in names])
        if key not in seen:
            seen.add(key)
            out.append(element)
    return dataclasses.replace(collection, elements=tuple(out))


@algorithm("Collection.iterate")
def collection_iterate(collection, function, first=None):
    for element in collection.elements:
        first = function.call(element, first)
    return first


@algorithm("Collection.geometry", "Collection.union", "Collection.bounds")
def collection_geometry(collection, maxError=None, proj=None):
    shapes = [e.geometry for e in collection.elements if e.geometry is not None]
    points = [s for s in shapes if s.shape.geom_type in ("Point", "MultiPoint")]
    if shapes and len(points) == len(shapes):
        moved = [reproject_geometry(s.shape, s.crs, shapes[0].crs) for s in shapes]
        return Geometry(shapely.MultiPoint([p for m in moved for p in getattr(m, "geoms", [m])]), shapes[0].crs, True)
    return Geometry(shapely.union_all([shape.lonlat for shape in shapes]), WGS84, False)


def _column(collection, name):
    return [value for element in collection.elements if (value := element.get(name)) is not None]


@algorithm("AggregateFeatureCollection.array")
def aggregate_array(collection, property):
    return _column(collection, property)


for _name, _reduce in {
    "first": lambda values: values[0] if values else None,
    "count": len,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "sum": sum,
    "mean": lambda values: sum(values) / len(values) if values else None,
    "count_distinct": lambda values: len(set(values)),
    "histogram": lambda values: {str(v): values.count(v) for v in sorted(set(values))},
}.items():
    ALGORITHMS[f"AggregateFeatureCollection.{_name}"] = lambda collection, property, _reduce=_reduce: _reduce(
        _column(collection, property)
    )


# --- filters -------------------------------------------------------------------------------------------------------


def _operand(element, field, value):
    if field is None:
        return value
    if field in (".all", ".geo"):
        return element
    return element.get(field)


def _as_geometry(value):
    if isinstance(value, Element):
        value = value.geometry
    if isinstance(value, Collection):
        value = collection_geometry(value)
    if isinstance(value, dict):
        value = Geometry(shapely.geometry.shape(value))
    return value


def _milliseconds(value):
    if isinstance(value, Date):
        return value.milliseconds
    if isinstance(value, str):
        return to_milliseconds(value)
    return value


def _comparison(compare):
    def test(left, right):
        if left is None or right is None:
            return False
        if isinstance(left, Date) or isinstance(right, Date):
            left, right = _milliseconds(left), _milliseconds(right)
        try:
            return bool(compare(left, right))
        except TypeError:
            return False

    return test


def _range_contains(left, right):
    return right is not None and left.start <= _milliseconds(right) < left.end


def _intersects(left, right):
    left, right = _as_geometry(left), _as_geometry(right)
    return left is None or right is None or bool(left.lonlat.intersects(right.lonlat))


def _inside(left, right):
    left, right = _as_geometry(left), _as_geometry(right)
    return left is None or bool(left.lonlat.contains(right.lonlat))


_TESTS = {
    ("eq", "equals"): _comparison(operator.eq),
    ("neq", "notEquals"): _comparison(operator.ne),
    ("lt", "lessThan"): _comparison(operator.lt),
    ("lte", "lessThanOrEquals"): _comparison(operator.le),
    ("gt", "greaterThan"): _comparison(operator.gt),
    ("gte", "greaterThanOrEquals"): _comparison(operator.ge),
    ("stringContains",): _comparison(lambda left, right: right in left),
    ("stringStartsWith",): _comparison(lambda left, right: left.startswith(right)),
    ("stringEndsWith",): _comparison(lambda left, right: left.endswith(right)),
    ("inList",): _comparison(lambda left, right: left in right),
    ("listContains",): _comparison(lambda left, right: right in left),
    ("dateRangeContains",): _range_contains,
    ("intersects",): _intersects,
    ("disjoint",): lambda left, right: not _intersects(left, right),
    ("contains",): _inside,
    ("isContained",): lambda left, right: _inside(right, left),
}


def _binary_filter(compare):
    def build(leftField=None, rightValue=None, rightField=None, leftValue=None, maxError=None):
        return Filter(
            lambda element: compare(_operand(element, leftField, leftValue), _operand(element, rightField, rightValue))
        )

    return build


for _names, _compare in _TESTS.items():
    algorithm(*[f"Filter.{name}" for name in _names])(_binary_filter(_compare))


@algorithm("Filter.and")
def filter_and(filters):
    return Filter(lambda element: all(f.test(element) for f in filters))


@algorithm("Filter.or")
def filter_or(filters):
    return Filter(lambda element: any(f.test(element) for f in filters))


@algorithm("Filter.not")
def filter_not(filter):
    return Filter(lambda element: not filter.test(element))


@algorithm("Filter.always")
def filter_always():
    return Filter(lambda element: True)


@algorithm("Filter.never")
def filter_never():
    return Filter(lambda element: False)


@algorithm("Filter.notNull")
def filter_not_null(properties):
    return Filter(lambda element: all(element.get(name) is not None for name in properties))


@algorithm("Filter.rangeContains")
def filter_range_contains(field, minValue, maxValue):
    return Filter(lambda element: element.get(field) is not None and minValue <= element.get(field) <= maxValue)


@algorithm("Filter.calendarRange")
def filter_calendar_range(start, end=None, field="day_of_year"):
    end = start if end is None else end
    read = {
        "year": lambda m: m.year,
        "month": lambda m: m.month,
        "hour": lambda m: m.hour,
        "day_of_month": lambda m: m.day,
        "day_of_year": lambda m: m.timetuple().tm_yday,
    }[field]

    def test(element):
        value = read(Date(element.get("system:time_start")).moment)
        return start <= value <= end if start <= end else value >= start or value <= end

    return Filter(test)


# --- elements ------------------------------------------------------------------------------------------------------


@algorithm("Element.get", "Element.getNumber", "Element.getString", "Image.get")
def element_get(object, property):
    return object.get(property)


@algorithm("Element.set")
def element_set(object, key, value=None):
    return object.with_properties({**object.properties, key: value})


@algorithm("Element.setMulti")
def element_set_multi(object, properties):
    return object.with_properties({**object.properties, **properties})


ALGORITHMS["Image.set"] = ALGORITHMS["Element.set"]


@algorithm("Element.propertyNames")
def element_property_names(element):
    extra = ["system:id", "system:version", "system:bands", "system:band_names"]
    return [*element.properties, *(extra if isinstance(element, Image) else [])]


@algorithm("Element.toDictionary")
def element_to_dictionary(element, properties=None):
    if properties is not None:
        return {name: element.get(name) for name in properties}
    return {k: v for k, v in element.properties.items() if not k.startswith("system:")}


@algorithm("Element.copyProperties", "Image.copyProperties")
def copy_properties(destination=None, source=None, properties=None, exclude=None):
    kept = source.properties if properties is None else {n: source.get(n) for n in properties}
    kept = {
        k: v
        for k, v in kept.items()
        if k not in (exclude or []) and (properties is not None or not k.startswith("system:"))
    }
    return destination.with_properties({**destination.properties, **kept})


@algorithm("Image.id", "Feature.id")
def element_id(element):
    return element.get("system:index")


@algorithm("Element.geometry", "Image.geometry", "Feature.geometry")
def element_geometry(feature, maxError=None, proj=None, geodesics=None):
    whole = Geometry(shapely.box(-180, -90, 180, 90), WGS84, False)
    return feature.geometry if feature.geometry is not None else whole


@algorithm("Feature")
def make_feature(geometry=None, metadata=None, geometryKey=None):
    return Feature(dict(metadata or {}), _as_geometry(geometry))


# --- images --------------------------------------------------------------------------------------------------------


def _matching(image, selector):
    if isinstance(selector, (int, float)):
        if not 0 <= selector < len(image.bands):
            raise GraphError(f"Image.select: Band index {int(selector)} out of range.")
        return [image.bands[int(selector)]]
    exact = image.band(selector)
    found = [exact] if exact else [band for band in image.bands if re.fullmatch(selector, band.name)]
    if not found:
        names = ", ".join(band.name for band in image.bands)
        raise GraphError(f"Image.select: Band pattern '{selector}' did not match any bands. Available bands: [{names}]")
    return found


@algorithm("Image.select")
def image_select(input, bandSelectors, newNames=None):
    selectors = bandSelectors if isinstance(bandSelectors, list) else [bandSelectors]
    bands = [band for selector in selectors for band in _matching(input, selector)]
    if newNames is not None:
        if len(newNames) != len(bands):
            raise GraphError("Image.select: The number of names must match the number of bands.")
        bands = [dataclasses.replace(b, name=n) for b, n in zip(bands, newNames, strict=True)]
    return dataclasses.replace(input, bands=tuple(bands))


@algorithm("Image.rename")
def image_rename(input, names):
    names = names if isinstance(names, list) else [names]
    return image_select(input, list(range(len(input.bands))), names)


@algorithm("Image.bandNames")
def image_band_names(image):
    return [band.name for band in image.bands]


@algorithm("Image.bandTypes")
def image_band_types(image):
    return {band.name: band.data_type for band in image.bands}


@algorithm("Image.projection")
def image_projection(image):
    found = {(band.crs, band.transform) for band in image.bands}
    if len(found) > 1:
        raise GraphError(
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick a single band."
        )
    return Projection(*found.pop())


@algorithm("Image.date")
def image_date(image):
    return Date(image.get("system:time_start"))


def _constant_band(name, value):
    def sample(points):
        return np.full(points.xs.shape, value), np.ones(points.xs.shape, dtype=bool)

    precision = "int" if isinstance(value, int) else "double"
    limits = {"min": value, "max": value}
    return Band(name, {"type": "PixelType", "precision": precision} | limits, WGS84, UNIT, None, sample)


@algorithm("Image.constant")
def image_constant(value):
    if isinstance(value, dict):
        return Image({}, bands=tuple(_constant_band(k, v) for k, v in value.items()))
    values = value if isinstance(value, list) else [value]
    names = ["constant"] if not isinstance(value, list) else [f"constant_{i}" for i in range(len(values))]
    return Image({}, bands=tuple(_constant_band(n, v) for n, v in zip(names, values, strict=True)))


def _pairs(left, right):
    if len(right.bands) == 1:
        return [(band, right.bands[0]) for band in left.bands]
    if len(left.bands) == 1:
        return [(left.bands[0], band) for band in right.bands]
    return list(zip(left.bands, right.bands, strict=False))


def _as_image(value):
    return value if isinstance(value, Image) else image_constant(value)


def _image_operation(compute, data_type):
    def apply(image1, image2):
        image1, image2 = _as_image(image1), _as_image(image2)
        lead = image1 if image1.asset_id or not image2.asset_id else image2
        bands = []
        for left, right in _pairs(image1, image2):

            def sample(points, left=left, right=right):
                a, a_valid = left.sample(points)
                b, b_valid = right.sample(points)
                with np.errstate(all="ignore"):
                    return compute(a, b), a_valid & b_valid

            grid = left if left.dimensions else right
            bands.append(dataclasses.replace(grid, name=left.name, data_type=data_type, sample=sample))
        return dataclasses.replace(
            lead,
            properties={k: v for k, v in image1.properties.items() if k in ("system:index", "system:footprint")},
            bands=tuple(bands),
            asset_id=None,
            version=None,
        )

    return apply


_TRUTH = {"type": "PixelType", "precision": "int", "min": 0, "max": 1}
_DOUBLE = {"type": "PixelType", "precision": "double"}


def _wide(compute):
    return lambda a, b: compute(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))


def _divide(a, b):
    """0 where it is by 0."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.zeros(a.shape), where=b != 0)


def _whole(compute):
    return lambda a, b: compute(np.asarray(a).astype(np.int64), np.asarray(b).astype(np.int64))


for _names, _compute, _type in (
    (("add",), _wide(np.add), _DOUBLE),
    (("subtract",), _wide(np.subtract), _DOUBLE),
    (("multiply",), _wide(np.multiply), _DOUBLE),
    (("divide",), _wide(_divide), _DOUBLE),
    (("pow",), _wide(np.power), _DOUBLE),
    (("eq",), _wide(np.equal), _TRUTH),
    (("neq",), _wide(np.not_equal), _TRUTH),
    (("lt",), _wide(np.less), _TRUTH),
    (("lte",), _wide(np.less_equal), _TRUTH),
    (("gt",), _wide(np.greater), _TRUTH),
    (("gte",), _wide(np.greater_equal), _TRUTH),
    (("and",), lambda a, b: (np.asarray(a) != 0) & (np.asarray(b) != 0), _TRUTH),
    (("or",), lambda a, b: (np.asarray(a) != 0) | (np.asarray(b) != 0), _TRUTH),
    (("bitwiseAnd", "bitwise_and"), _whole(np.bitwise_and), _DOUBLE),
    (("rightShift", "right_shift"), _whole(np.right_shift), _DOUBLE),
    (("leftShift", "left_shift"), _whole(np.left_shift), _DOUBLE),
):
    algorithm(*[f"Image.{name}" for name in _names])(_image_operation(_compute, _type))


@algorithm("Image.clamp")
def image_clamp(input, low, high):
    least = _image_operation(_wide(np.maximum), _DOUBLE)(input, image_constant(low))
    return _image_operation(_wide(np.minimum), _DOUBLE)(least, image_constant(high))


@algorithm("Image.not")
def image_not(value):
    return _image_operation(lambda a, b: np.asarray(a) == 0, _TRUTH)(value, image_constant(0))


def _mask_band(band, mask):
    def sample(points):
        values, valid = band.sample(points)
        chosen, chosen_valid = mask.sample(points)
        return values, valid & chosen_valid & (np.asarray(chosen) != 0)

    return dataclasses.replace(band, sample=sample)


@algorithm("Image.updateMask")
def image_update_mask(image, mask):
    pairs = _pairs(image, _as_image(mask))
    return dataclasses.replace(image, bands=tuple(_mask_band(band, chosen) for band, chosen in pairs))


@algorithm("Image.selfMask")
def image_self_mask(image):
    return dataclasses.replace(image, bands=tuple(_mask_band(band, band) for band in image.bands))


@algorithm("Image.mask")
def image_mask(image, mask=None):
    if mask is not None:
        return image_update_mask(image, mask)

    def shown(band):
        def sample(points):
            valid = band.sample(points)[1]
            return valid.astype(np.uint8), np.ones(valid.shape, dtype=bool)

        return dataclasses.replace(band, data_type=_TRUTH, sample=sample)

    return dataclasses.replace(image, bands=tuple(shown(band) for band in image.bands))


def _union_type(left, right):
    """The narrowest type that holds both."""
    if left["precision"] == right["precision"] == "int" and "min" in left and "min" in right:
        limits = {"min": min(left["min"], right["min"]), "max": max(left["max"], right["max"])}
        return {"type": "PixelType", "precision": "int"} | limits
    kinds = {left["precision"], right["precision"]}
    return {"type": "PixelType", "precision": "float" if kinds <= {"float", "int"} else "double"}


@algorithm("Image.unmask")
def image_unmask(input, value=None, sameFootprint=True):
    filling = _as_image(0 if value is None else value)

    def filled(band, fill):
        def sample(points):
            values, valid = band.sample(points)
            other, other_valid = fill.sample(points)
            outside = sameFootprint & ~input.covers(points)
            kind = np.dtype(_numpy_type(data_type, np.result_type(values, other)))
            out = np.where(valid, values.astype(kind), np.asarray(other).astype(kind))
            return out, valid | (other_valid & ~outside)

        data_type = _union_type(band.data_type, fill.data_type)
        return dataclasses.replace(band, data_type=data_type, sample=sample)

    bands = tuple(filled(band, fill) for band, fill in _pairs(input, filling))
    if sameFootprint:
        return dataclasses.replace(input, bands=bands)
    return dataclasses.replace(input, bands=bands, geometry=None, covers=Image({}).covers)


def _cast(image, dtype):
    if dtype in INT_LIMITS:
        low, high = INT_LIMITS[dtype]
        data_type = {"type": "PixelType", "precision": "int", "min": low, "max": high}
    else:
        data_type = {"type": "PixelType", "precision": "double" if dtype == "float64" else "float"}

    def converted(band):
        def sample(points):
            values, valid = band.sample(points)
            if dtype in INT_LIMITS:
                values = np.clip(values, *INT_LIMITS[dtype])
            return values.astype(dtype), valid

        return dataclasses.replace(band, data_type=data_type, sample=sample)

    return dataclasses.replace(image, bands=tuple(converted(band) for band in image.bands))


for _name, _dtype in {
    "Uint8": "uint8",
    "Byte": "uint8",
    "Int8": "int8",
    "Uint16": "uint16",
    "Int16": "int16",
    "Short": "int16",
    "Uint32": "uint32",
    "Int32": "int32",
    "Int": "int32",
    "Float": "float32",
    "Double": "float64",
}.items():
    for _spelling in (f"Image.to{_name}", f"Image.{_name.lower()}"):
        ALGORITHMS[_spelling] = lambda value, _dtype=_dtype: _cast(value, _dtype)


@algorithm("Image.addBands")
def image_add_bands(dstImg, srcImg, names=None, overwrite=False):
    added = srcImg if names is None else image_select(srcImg, names)
    bands = {band.name: band for band in dstImg.bands}
    for band in added.bands:
        name = band.name
        while name in bands and not overwrite:
            name += "_1"
        bands[name] = dataclasses.replace(band, name=name)
    return dataclasses.replace(dstImg, bands=tuple(bands.values()))


@algorithm("Image.metadata")
def image_metadata(image, property, name=None):
    found = image_constant(image.get(property))
    return dataclasses.replace(image, bands=(dataclasses.replace(found.bands[0], name=name or property),))


@algorithm("Image.linkCollection")
def image_link_collection(
    input, imageCollection, linkedBands=None, linkedProperties=None, matchPropertyName="system:index"
):
    wanted = input.get(matchPropertyName)
    match = next((e for e in imageCollection.elements if e.get(matchPropertyName) == wanted), None)
    names = linkedBands if isinstance(linkedBands, list) or linkedBands is None else [linkedBands]
    if match is not None:
        return image_add_bands(input, match, names)
    empty = image_constant(dict.fromkeys(names or [], 0))
    return image_add_bands(input, image_update_mask(empty, image_constant(0)))


@algorithm("Image.clip")
def image_clip(input, geometry):
    geometry = _as_geometry(geometry)

    def inside(points):
        return shapely.contains_xy(geometry.in_crs(points.crs), points.xs, points.ys)

    def cut(band):
        def sample(points):
            values, valid = band.sample(points)
            return values, valid & inside(points)

        return dataclasses.replace(band, sample=sample)

    kept = geometry.lonlat
    if input.geometry is not None:
        kept = kept.intersection(input.geometry.lonlat)
    return dataclasses.replace(
        input,
        bands=tuple(cut(band) for band in input.bands),
        geometry=Geometry(kept, WGS84, False),
        covers=lambda points: input.covers(points) & inside(points),
    )


@algorithm("ImageCollection.mosaic")
def image_collection_mosaic(collection):
    images = collection.elements
    if not images:
        return Image({})

    def stacked(name):
        def sample(points):
            values, valid = images[-1].band(name).sample(points)
            for image in images[-2::-1]:
                below, below_valid = image.band(name).sample(points)
                values = np.where(valid, values, below)
                valid = valid | below_valid
            return values, valid

        first = images[0].band(name)
        return dataclasses.replace(first, crs=WGS84, transform=UNIT, dimensions=None, sample=sample)

    return Image({}, bands=tuple(stacked(band.name) for band in images[0].bands))


# --- geometry and projection ---------------------------------------------------------------------------------------


def _projection(value):
    if value is None:
        return Projection()
    if isinstance(value, str):
        return projection(value)
    if isinstance(value, dict):
        return Projection(value["crs"], tuple(value.get("transform", UNIT)))
    return value


@algorithm("Projection")
def projection(crs, transform=None, transformWkt=None):
    if isinstance(crs, Projection):
        crs = crs.crs
    try:
        parse_crs(crs)
    except pyproj.exceptions.CRSError as error:
        raise GraphError(f"Projection: The CRS of a map projection could not be parsed: {crs}.") from error
    return Projection(crs, tuple(transform) if transform is not None else UNIT)


@algorithm("Projection.crs")
def projection_crs(projection):
    return projection.crs


@algorithm("Projection.wkt")
def projection_wkt(projection):
    return parse_crs(projection.crs).to_wkt("WKT1_GDAL")


@algorithm("Projection.transform")
def projection_transform(projection):
    a, b, c, d, e, f = projection.transform
    return (
        'PARAM_MT["Affine", PARAMETER["num_row", 3], PARAMETER["num_col", 3], '
        f'PARAMETER["elt_0_0", {a}], PARAMETER["elt_0_1", {b}], PARAMETER["elt_0_2", {c}], '
        f'PARAMETER["elt_1_0", {d}], PARAMETER["elt_1_1", {e}], PARAMETER["elt_1_2", {f}]]'
    )


@algorithm("Projection.nominalScale")
def projection_nominal_scale(proj=None, projection=None):
    found = proj or projection
    size = abs(found.transform[0])
    return math.radians(size) * EARTH_RADIUS if parse_crs(found.crs).is_geographic else size


@algorithm("Projection.atScale")
def projection_at_scale(projection, meters):
    size = _pixel_size(projection.crs, meters)
    sign = math.copysign(1, projection.transform[4])
    return Projection(projection.crs, (size, 0, 0, 0, sign * size, 0))


def _pixel_size(crs, scale):
    if parse_crs(crs).is_geographic:
        return math.degrees(scale / EARTH_RADIUS)
    return scale / parse_crs(crs).axis_info[0].unit_conversion_factor


def _constructor(build, planar=False):
    def make(coordinates, crs=None, geodesic=None, maxError=None, evenOdd=True):
        name = _projection(crs).crs
        if geodesic is None:
            geodesic = parse_crs(name).is_geographic and not planar
        return Geometry(build(coordinates), name, bool(geodesic))

    return make


def _nested(coordinates, depth):
    """Coordinates with `depth` levels of lists above the numbers; a flat list of numbers is cut into pairs."""
    if coordinates and not isinstance(coordinates[0], list):
        coordinates = [list(pair) for pair in zip(coordinates[::2], coordinates[1::2], strict=True)]
    level, probe = 0, coordinates
    while isinstance(probe, list) and probe:
        level, probe = level + 1, probe[0]
    for _ in range(depth - level):
        coordinates = [coordinates]
    return coordinates


def _rectangle(coordinates):
    points = _nested(coordinates, 2)
    points = points[0] if isinstance(points[0][0], list) else points
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return shapely.box(min(xs), min(ys), max(xs), max(ys))


def _polygon(coordinates):
    rings = _nested(coordinates, 3)
    return shapely.Polygon(rings[0], rings[1:])


for _name, _build in {
    "Point": lambda c: shapely.Point(c[0], c[1]),
    "MultiPoint": lambda c: shapely.MultiPoint(_nested(c, 2)),
    "LineString": lambda c: shapely.LineString(_nested(c, 2)),
    "LinearRing": lambda c: shapely.LinearRing(_nested(c, 2)),
    "MultiLineString": lambda c: shapely.MultiLineString(_nested(c, 3)),
    "Polygon": _polygon,
    "MultiPolygon": lambda c: shapely.MultiPolygon([_polygon(p) for p in _nested(c, 4)]),
    "Rectangle": _rectangle,
}.items():
    ALGORITHMS[f"GeometryConstructors.{_name}"] = _constructor(_build)


@algorithm("GeometryConstructors.BBox")
def bbox(west, south, east, north):
    return Geometry(shapely.box(west, min(south, north), east, max(south, north)), WGS84, False)


@algorithm("GeometryConstructors.MultiGeometry")
def multi_geometry(geometries, crs=None, geodesic=None, maxError=None):
    parts = [g.lonlat for g in geometries]
    return Geometry(shapely.GeometryCollection(parts), WGS84, False)


@algorithm("Geometry.bounds")
def geometry_bounds(geometry, maxError=None, proj=None):
    crs = _projection(proj).crs if proj is not None else geometry.crs
    return Geometry(shapely.box(*geometry.in_crs(crs).bounds), crs, False)


@algorithm("Geometry.transform")
def geometry_transform(geometry, proj=None, maxError=None, geodesic=None):
    crs = _projection(proj).crs
    return Geometry(geometry.in_crs(crs), crs, bool(geodesic))


@algorithm("Geometry.coordinates")
def geometry_coordinates(geometry):
    return to_json(shapely.geometry.mapping(geometry.shape)["coordinates"])


@algorithm("Geometry.intersects")
def geometry_intersects(left, right, maxError=None, proj=None):
    return bool(left.lonlat.intersects(right.lonlat))


@algorithm("Geometry.contains")
def geometry_contains(left, right, maxError=None, proj=None):
    return bool(left.lonlat.contains(right.lonlat))


@algorithm("Geometry.intersection")
def geometry_intersection(left, right, maxError=None, proj=None):
    return Geometry(left.lonlat.intersection(right.lonlat), WGS84, False)


@algorithm("Geometry.type")
def geometry_type(geometry):
    return geometry.shape.geom_type


@algorithm("ErrorMargin")
def error_margin(value=0, unit="meters"):
    return Opaque("ErrorMargin", {"value": value, "unit": unit})


# --- dates, lists, dictionaries, numbers, strings ------------------------------------------------------------------


@algorithm("Date")
def make_date(value, timeZone=None):
    return value if isinstance(value, Date) else Date(int(_milliseconds(value)))


@algorithm("DateRange")
def make_date_range(start, end=None, timeZone=None):
    start = _milliseconds(start)
    return DateRange(start, start + 1 if end is None else _milliseconds(end))


@algorithm("DateRange.start")
def date_range_start(dateRange):
    return Date(dateRange.start)


@algorithm("DateRange.end")
def date_range_end(dateRange):
    return Date(dateRange.end)


@algorithm("Date.millis")
def date_millis(date):
    return make_date(date).milliseconds


@algorithm("Date.format")
def date_format(date, format=None, timeZone=None):
    moment = make_date(date).moment
    if format is None:
        return moment.strftime("%Y-%m-%dT%H:%M:%S")
    out = format.replace("'", "")
    for pattern, code in (("YYYY", "%Y"), ("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H")):
        out = out.replace(pattern, code)
    return moment.strftime(out.replace("mm", "%M").replace("ss", "%S"))


@algorithm("Date.advance")
def date_advance(date, delta, unit, timeZone=None):
    moment, unit = make_date(date).moment, unit.rstrip("s")
    if unit in ("month", "year"):
        months = moment.month - 1 + int(delta) * (12 if unit == "year" else 1)
        moved = moment.replace(year=moment.year + months // 12, month=months % 12 + 1)
    else:
        moved = moment + datetime.timedelta(**{f"{unit}s": delta})
    return Date(round(moved.timestamp() * 1000))


@algorithm("Date.fromYMD")
def date_from_ymd(year, month, day, timeZone=None):
    return Date(to_milliseconds(f"{year:04d}-{month:02d}-{day:02d}"))


@algorithm("List.sequence")
def list_sequence(start, end=None, step=1, count=None):
    if count is not None:
        gap = (end - start) / (count - 1) if end is not None and count > 1 else step
        return [plain_number(float(start + gap * i)) for i in range(count)]
    found = math.floor((end - start) / step + 1e-12) + 1
    return [plain_number(float(start + step * i)) for i in range(max(found, 0))]


@algorithm("List.map")
def list_map(list, baseAlgorithm, dropNulls=False):
    out = [baseAlgorithm.call(item) for item in list]
    return [item for item in out if item is not None] if dropNulls else out


@algorithm("List.iterate")
def list_iterate(list, function, first=None):
    for item in list:
        first = function.call(item, first)
    return first


@algorithm("List.flatten")
def list_flatten(list):
    out = []
    for item in list:
        out += list_flatten(item) if hasattr(item, "append") else [item]
    return out


@algorithm("List.zip")
def list_zip(list, other):
    return [[a, b] for a, b in zip(list, other, strict=False)]


@algorithm("List.slice")
def list_slice(list, start, end=None, step=None):
    return list[start:end:step]


@algorithm("List.distinct")
def list_distinct(list):
    out = []
    for item in list:
        if item not in out:
            out.append(item)
    return out


@algorithm("Dictionary")
def make_dictionary(input=None):
    if hasattr(input, "append"):
        return dict(zip(input[::2], input[1::2], strict=True))
    return dict(input or {})


@algorithm("Dictionary.get", "Dictionary.getNumber", "Dictionary.getString")
def dictionary_get(dictionary, key, defaultValue=None):
    return dictionary.get(key, defaultValue)


for _name, _function in {
    "List.get": lambda list, index: list[index],
    "List.getNumber": lambda list, index: list[index],
    "List.getString": lambda list, index: list[index],
    "List.size": lambda list: len(list),
    "List.length": lambda list: len(list),
    "List.add": lambda list, element: [*list, element],
    "List.cat": lambda list, other: [*list, *other],
    "List.contains": lambda list, element: element in list,
    "List.indexOf": lambda list, element: list.index(element) if element in list else -1,
    "List.reverse": lambda list: list[::-1],
    "List.repeat": lambda value, count: [value] * count,
    "List.sort": lambda list, keys=None: sorted(list),
    "List.join": lambda list, separator="": separator.join(map(str, list)),
    "List.remove": lambda list, element: [item for item in list if item != element],
    "List.filter": lambda list, filter: [
        item for item in list if filter.test(item if isinstance(item, Element) else Element({"item": item}))
    ],
    "Dictionary.fromLists": lambda keys, values: dict(zip(keys, values, strict=True)),
    "Dictionary.keys": lambda dictionary: sorted(dictionary),
    "Dictionary.values": lambda dictionary, keys=None: [dictionary[k] for k in keys or sorted(dictionary)],
    "Dictionary.set": lambda dictionary, key, value: {**dictionary, key: value},
    "Dictionary.contains": lambda dictionary, key: key in dictionary,
    "Dictionary.size": lambda dictionary: len(dictionary),
    "Dictionary.combine": lambda first, second, overwrite=True: (
        {**first, **second} if overwrite else {**second, **first}
    ),
    "Dictionary.select": lambda dictionary, selectors, ignoreMissing=False: {k: dictionary[k] for k in selectors},
    "String": lambda input: input if isinstance(input, str) else str(plain_number(input)),
    "String.cat": lambda string1, string2: string1 + string2,
    "String.slice": lambda string, start, end=None: string[start:end],
    "String.replace": lambda input, regex, replacement, flags="": re.sub(regex, replacement, input),
    "String.split": lambda string, regex, flags="": re.split(regex, string),
    "Number.format": lambda number, pattern="%s": pattern % plain_number(number),
    "Number.parse": lambda input, radix=10: plain_number(float(input)),
    "Number.floor": math.floor,
    "Number.ceil": math.ceil,
    "Number.round": lambda input: math.floor(input + 0.5),
    "Number.int": int,
    "Number.toInt": int,
    "Number.toInt64": int,
    "Number.long": int,
    "Number.float": float,
    "Number.toFloat": float,
    "Number.double": float,
    "Number.abs": abs,
    "IsEqual": lambda left, right: left == right,
}.items():
    ALGORITHMS[_name] = _function


def _one_argument(function):
    return lambda **arguments: function(*arguments.values())


for _name in ("floor", "ceil", "int", "toInt", "toInt64", "long", "float", "toFloat", "double", "abs"):
    ALGORITHMS[f"Number.{_name}"] = _one_argument(ALGORITHMS[f"Number.{_name}"])

for _name, _operate in {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "mod": math.fmod,
    "min": min,
    "max": max,
    "pow": operator.pow,
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}.items():
    ALGORITHMS[f"Number.{_name}"] = lambda left, right, _operate=_operate: plain_number(_operate(left, right))


# --- pixels --------------------------------------------------------------------------------------------------------


def _cells_of_area(shape, transform):
    """Columns and rows of the grid whose pixel centres lie inside the shape; None if more than anyone may ask for."""
    a, _, c, _, e, f = transform
    left, bottom, right, top = shape.bounds
    u = sorted(((left - c) / a, (right - c) / a))
    v = sorted(((bottom - f) / e, (top - f) / e))
    col0, col1 = math.ceil(u[0] - 0.5), math.ceil(u[1] - 0.5)
    row0, row1 = math.ceil(v[0] - 0.5), math.ceil(v[1] - 0.5)
    if (col1 - col0) * (row1 - row0) > 30 * MAX_VALUES:
        raise GraphError(_too_many((col1 - col0) * (row1 - row0), 1, 1))
    rows, cols = np.meshgrid(np.arange(row0, row1), np.arange(col0, col1), indexing="ij")
    rows, cols = rows.ravel(), cols.ravel()
    if not shape.equals(shapely.box(*shape.bounds)):
        shapely.prepare(shape)
        kept = shapely.contains_xy(shape, c + (cols + 0.5) * a, f + (rows + 0.5) * e)
        rows, cols = rows[kept], cols[kept]
    return rows, cols


def _cells(geometry, crs, transform):
    shape = geometry.in_crs(crs)
    a, b, c, d, e, f = transform
    if b or d:
        raise GraphError("ImageCollection.getRegion: sheared grids are not in the stand-in service.")
    if shape.is_empty:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if shape.geom_type in ("Point", "MultiPoint"):
        xy = shapely.get_coordinates(shape)
        cells = np.column_stack([np.floor((xy[:, 1] - f) / e), np.floor((xy[:, 0] - c) / a)])
        cells = np.unique(cells.astype(np.int64), axis=0)
        cells = np.random.default_rng(len(cells)).permutation(cells)
        return cells[:, 0], cells[:, 1]
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return _cells_of_area(shape, transform)
    raise GraphError(f"ImageCollection.getRegion: {shape.geom_type} is not in the stand-in service.")


def _too_many(points, bands, images):
    return (
        f"ImageCollection.getRegion: Too many values: {points} points x {bands} bands x {images} images > {MAX_VALUES}."
    )


def _printed(values, valid=None):
    """A column of the answer: whole numbers as ints, masked as None."""
    values = np.asarray(values)
    out = values.astype(object)
    if values.dtype.kind == "f":
        wide = values.astype(np.float64)
        whole = np.isfinite(wide) & (wide == np.trunc(wide)) & (np.abs(wide) < 2**62)
        out = wide.astype(object)
        out[whole] = wide[whole].astype(np.int64).astype(object)
    if valid is not None:
        out[~valid] = None
    return out


@algorithm("ImageCollection.getRegion", evaluator=True)
def get_region(evaluator, collection, geometry, scale=None, crs=None, crsTransform=None):
    if not collection.elements or not collection.elements[0].bands:
        raise GraphError("ImageCollection.getRegion: No bands in collection.")
    names = [band.name for band in collection.elements[0].bands]
    for image in collection.elements:
        if [band.name for band in image.bands] != names:
            raise GraphError(
                "ImageCollection.getRegion: Expected a homogeneous image collection, but an image with incompatible "
                f"bands was encountered. First image type: {names}. Current image type: "
                f"{[band.name for band in image.bands]}."
            )
    asked = _projection(crs)
    if scale is not None and crsTransform is not None:
        raise GraphError("ImageCollection.getRegion: Cannot specify both 'scale' and 'crsTransform'.")
    transform = tuple(crsTransform) if crsTransform is not None else asked.transform
    if scale is not None:
        size = _pixel_size(asked.crs, scale)
        transform = (size, 0, 0, 0, size, 0)
    geometry = _as_geometry(geometry)
    rows, cols = _cells(geometry, asked.crs, transform)
    if rows.size * len(names) > MAX_VALUES:
        region = geometry.lonlat
        images = sum(i.geometry is None or i.geometry.lonlat.intersects(region) for i in collection.elements)
        raise GraphError(_too_many(rows.size, len(names), max(images, 1)))
    xs = transform[2] + (cols + 0.5) * transform[0]
    ys = transform[5] + (rows + 0.5) * transform[4]
    points = Points(xs, ys, asked.crs)
    covered = [(image, np.flatnonzero(image.covers(points))) for image in collection.elements]
    covered = [(image, cells) for image, cells in covered if cells.size]
    values = rows.size * len(names) * len(covered)
    evaluator.region = {"points": int(rows.size), "bands": names, "images": len(covered), "values": values}
    if values > MAX_VALUES:
        raise GraphError(_too_many(rows.size, len(names), len(covered)))
    if rows.size:
        beside, _ = reproject(np.array([xs[0], xs[0] + abs(transform[0])]), np.repeat(ys[:1], 2), asked.crs, WGS84)
        evaluator.column_width = float(beside[1] - beside[0])
    return _region_rows(covered, points, names)


def _region_rows(covered, points, names):
    """The answer: a header, then pixel after pixel, within a pixel image after image."""
    header = ["id", "longitude", "latitude", "time", *names]
    if not covered:
        return [header]
    lon, lat = reproject(points.xs, points.ys, points.crs, WGS84)
    lon, lat = _printed(np.asarray(lon)), _printed(np.asarray(lat))
    columns = [[] for _ in header]
    for image, cells in covered:
        part = Points(points.xs[cells], points.ys[cells], points.crs)
        sampled = [_printed(*band.sample(part)) for band in image.bands]
        index = np.full(cells.size, image.get("system:index"), dtype=object)
        time = np.full(cells.size, image.get("system:time_start"), dtype=object)
        for column, found in zip(columns, [index, lon[cells], lat[cells], time, *sampled], strict=True):
            column.append(found)
    order = np.argsort(np.concatenate([cells for _, cells in covered]), kind="stable")
    lists = [np.concatenate(column)[order].tolist() for column in columns]
    return [header, *map(list, zip(*lists, strict=True))]


def compute_pixels(image, request):
    """image:computePixels: a numpy structured array (height, width) with one field per band; masked pixels are 0."""
    grid = request["grid"]
    width, height = grid["dimensions"]["width"], grid["dimensions"]["height"]
    if max(width, height) > MAX_SIDE:
        raise GraphError(f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_SIDE}.")
    bands = request.get("bandIds") or [band.name for band in image.bands]
    chosen = [band for name in bands for band in _matching(image, name)]
    affine = {"scaleX": 1, "shearX": 0, "translateX": 0, "shearY": 0, "scaleY": 1, "translateY": 0}
    affine |= grid["affineTransform"]
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    xs = affine["translateX"] + cols * affine["scaleX"] + rows * affine["shearX"]
    ys = affine["translateY"] + cols * affine["shearY"] + rows * affine["scaleY"]
    points = Points(xs.ravel(), ys.ravel(), grid.get("crsCode") or grid.get("crsWkt"))
    probe = Points(points.xs[:1], points.ys[:1], points.crs)
    kinds = [(band.name, _numpy_type(band.data_type, band.sample(probe)[0].dtype)) for band in chosen]
    size = width * height * sum(np.dtype(kind).itemsize + 1 for _, kind in kinds)
    if size > MAX_PIXEL_BYTES:
        raise GraphError(f"Total request size ({size} bytes) must be less than or equal to {MAX_PIXEL_BYTES} bytes.")
    out = np.zeros((height, width), dtype=kinds)
    for band in chosen:
        values, valid = band.sample(points)
        out[band.name] = np.where(valid, values, 0).reshape(height, width)
    return out


def _numpy_type(data_type, sampled):
    precision = data_type["precision"]
    if precision != "int":
        return "<f8" if precision == "double" else "<f4"
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
        low, high = INT_LIMITS[name]
        if "min" in data_type and low <= data_type["min"] and data_type["max"] <= high:
            return np.dtype(name).str
    return np.dtype(sampled).str
