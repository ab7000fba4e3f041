"""Assets seen otherwise: without a scene, or with another version of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Assets, Band, StoredCollection, StoredImage

Change = Callable[[StoredImage], StoredImage | None]


def without(assets: Assets, pattern: str, use: Callable[[], None]) -> Assets:
    """The assets without the images whose ids match a pattern; `use` is told when one has been left out."""

    def change(image: StoredImage) -> None:
        use()

    return _changed(assets, pattern, change)


def other_version(assets: Assets, pattern: str, by: int, add: float, use: Callable[[], None]) -> Assets:
    """The assets with later versions of the images whose ids match a pattern."""

    def change(image: StoredImage) -> StoredImage:
        use()
        return _Reprocessed(image, by, add)

    return _changed(assets, pattern, change)


def _changed(assets: Assets, pattern: str, change: Change) -> Assets:
    def seen(image: StoredImage) -> StoredImage | None:
        return change(image) if fnmatchcase(image.id, pattern) else image

    return Assets(
        {key: _Collection(collection, seen) for key, collection in assets.collections.items()},
        _Images(assets.images, seen),
    )


class _Images(dict[str, StoredImage]):
    """Images at hand, changed when they are looked up."""

    def __init__(self, images: Mapping[str, StoredImage], seen: Change) -> None:
        super().__init__(images)
        self._seen = seen

    def __getitem__(self, key: str) -> StoredImage:
        found = self._seen(super().__getitem__(key))
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) and self._seen(super().__getitem__(str(key))) is not None

    def __iter__(self) -> Iterator[str]:
        return (key for key in super().__iter__() if key in self)

    def get(self, key: str, default: Any = None) -> Any:
        """The image, or the default."""
        try:
            return self[key]
        except KeyError:
            return default


@dataclass(frozen=True)
class _Collection:
    """A collection whose images are seen otherwise."""

    stored: StoredCollection
    seen: Change

    @property
    def id(self) -> str:
        return self.stored.id

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.stored.properties

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        for image in self.stored.search(start_ms, end_ms, region):
            found = self.seen(image)
            if found is not None:
                yield found

    def get(self, index: str) -> StoredImage | None:
        found = self.stored.get(index)
        return None if found is None else self.seen(found)


@dataclass(frozen=True)
class _Reprocessed:
    """An image with another version and, if wanted, other pixels."""

    stored: StoredImage
    by: int
    add: float

    @property
    def id(self) -> str:
        return self.stored.id

    @property
    def version(self) -> int:
        return self.stored.version + self.by

    @property
    def properties(self) -> Mapping[str, Any]:
        properties = dict(self.stored.properties)
        if "system:version" in properties:
            properties["system:version"] = self.version
        return properties

    @property
    def footprint(self) -> BaseGeometry | None:
        return self.stored.footprint

    @property
    def bands(self) -> tuple[Band, ...]:
        return self.stored.bands

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        values, valid = self.stored.read(band, level, col, row, width, height)
        if not self.add:
            return values, valid
        return np.where(valid, values + np.array(self.add, values.dtype), values).astype(values.dtype), valid
