"""Elements: what a collection holds, images and features, with properties."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

from eelocal.values.geometry import Geometry

# Read as properties though they are not printed among them.
_SPECIAL = {"system:id": "id", "system:version": "version"}


class Element:
    """Something with properties. Never changed after it was made: `with_properties` gives a new one."""

    kind = "Element"

    def __init__(
        self, properties: Mapping[str, Any] | None = None, id: str | None = None, version: int | None = None
    ) -> None:
        self.properties: Mapping[str, Any] = properties if properties is not None else {}
        self.id = id
        self.version = version

    def get(self, name: str) -> Any:
        """A property, or None."""
        if name in self.properties:
            return self.properties[name]
        return getattr(self, _SPECIAL[name]) if name in _SPECIAL else None

    def has(self, name: str) -> bool:
        """Whether there is such a property."""
        return name in self.properties or (name in _SPECIAL and self.get(name) is not None)

    def with_properties(self, properties: Mapping[str, Any]) -> Self:
        """The same element with these properties instead; those set to None are gone."""
        new = copy.copy(self)
        new.properties = {key: value for key, value in properties.items() if value is not None}
        for name, attribute in _SPECIAL.items():
            if name in new.properties:
                setattr(new, attribute, new.properties.pop(name))
        return new

    def set(self, **changes: Any) -> Self:
        """The same element with some properties changed."""
        return self.with_properties({**self.properties, **changes})

    @property
    def index(self) -> str:
        """`system:index`, or an empty string."""
        return str(self.properties.get("system:index", ""))

    @property
    def geometry(self) -> Geometry | None:
        """Where it is; None if it has no place, unbounded for an image without bounds."""
        return None


class Feature(Element):
    """A geometry with properties."""

    kind = "Feature"

    def __init__(self, geometry: Geometry | None, properties: Mapping[str, Any] | None = None) -> None:
        super().__init__(properties)
        self._geometry = geometry

    @property
    def geometry(self) -> Geometry | None:
        """The feature's geometry."""
        return self._geometry

    def with_geometry(self, geometry: Geometry | None) -> Feature:
        """The same feature elsewhere."""
        new = copy.copy(self)
        new._geometry = geometry
        return new
