"""The geometry of a whole collection."""

from __future__ import annotations

from collections.abc import Sequence

import shapely

from eelocal.values.collection import Collection
from eelocal.values.geometry import Geometry


def union_of(collection: Collection) -> Geometry:
    """One geometry of all elements; thousands of points stay points, and their system if it is one."""
    geometries = [e.geometry for e in collection.elements() if e.geometry is not None]
    unbounded = next((g for g in geometries if g.unbounded), None)
    return unbounded or merged(geometries)


def merged(geometries: Sequence[Geometry]) -> Geometry:
    """The union of geometries, in their own system if they share one, else in degrees."""
    if not geometries:
        return Geometry(shapely.GeometryCollection())
    if len(geometries) == 1:
        return geometries[0]
    systems = {geometry.crs for geometry in geometries}
    crs = systems.pop() if len(systems) == 1 else "EPSG:4326"
    if all(geometry.shape.geom_type == "Point" for geometry in geometries):
        return Geometry(shapely.MultiPoint([geometry.in_crs(crs) for geometry in geometries]), crs)
    return Geometry(shapely.union_all([geometry.in_crs(crs) for geometry in geometries]), crs)
