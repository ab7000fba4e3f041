"""Choosing, naming and joining bands: the rules all algorithms share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eelocal.errors import EarthEngineError
from eelocal.patterns import compiled
from eelocal.values.image import Band, Image


def select_bands(image: Image, selectors: Sequence[Any]) -> list[Band]:
    """Bands for names, patterns and positions, in the order of the selectors."""
    chosen: list[Band] = []
    for selector in selectors:
        chosen.extend(_matching(image, selector))
    return chosen


def renamed(bands: Sequence[Band], names: Sequence[str] | None) -> list[Band]:
    """Bands under new names, one for each."""
    if names is None:
        return list(bands)
    if len(names) != len(bands):
        raise EarthEngineError(f"The number of names ({len(names)}) must match the number of bands ({len(bands)}).")
    bad = next((name for name in names if not isinstance(name, str)), None)
    if bad is not None:
        raise EarthEngineError(f"Band names must be strings. Got {str(bad)[:100]!r}.")
    return [band.renamed(name) for band, name in zip(bands, names, strict=True)]


def joined(bands: Sequence[Band], added: Sequence[Band], *, overwrite: bool) -> list[Band]:
    """Bands and more bands; one whose name is taken replaces it or gets `_1`, `_2`, ..."""
    result = list(bands)
    position = {band.name: i for i, band in enumerate(result)}
    for band in added:
        if overwrite and band.name in position:
            result[position[band.name]] = band
            continue
        name = free_name(band.name, position)
        position[name] = len(result)
        result.append(band.renamed(name))
    return result


def free_name(name: str, taken: Any) -> str:
    """The name, with the first numerical suffix that is free if it is taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _matching(image: Image, selector: Any) -> list[Band]:
    if isinstance(selector, str):
        return _by_name(image, selector)
    if isinstance(selector, (int, float)) and not isinstance(selector, bool):
        position = int(selector)
        if not 0 <= position < len(image.bands):
            raise EarthEngineError(f"Band index {position} is out of range: the image has {len(image.bands)} bands.")
        return [image.bands[position]]
    raise EarthEngineError(f"Band selectors must be strings or integers. Got {str(selector)[:100]!r}.")


def _by_name(image: Image, selector: str) -> list[Band]:
    exact = [band for band in image.bands if band.name == selector]
    if exact:
        return exact
    pattern = compiled(selector)
    found = [band for band in image.bands if pattern.matches(band.name)]
    if not found:
        raise EarthEngineError(
            f"Band pattern '{selector}' did not match any bands. Available bands: [{', '.join(image.names)}]"
        )
    return found
