"""Cloud Score+ (`GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED`): how usable each Sentinel-2 pixel is, 0 to 1.

It shares `system:index` with the Sentinel-2 scenes and is joined by it. A few scenes have no match, as in the real
collection while it was filled backwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.bandspec import BandSpec
from eelocal.world.hashing import scalar_unit
from eelocal.world.s2_properties import level_1c_properties, ring
from eelocal.world.scenes import Scene
from eelocal.world.surface import Day
from eelocal.world.window import F32

_MISSING = 0.015  # share of scenes without a match


def has_match(scene: Scene) -> bool:
    """Whether the scene was scored."""
    return scalar_unit("cloud score", scene.index) >= _MISSING


def score_properties(scene: Scene) -> dict[str, Any]:
    """Properties of a scored scene."""
    return {
        "system:index": scene.index,
        "system:time_start": scene.time_ms,
        "system:time_end": scene.time_ms,
        "system:footprint": {"type": "LinearRing", "coordinates": ring(scene.view.outline)},
        "system:asset_size": int(scene.view.share * 2.1e8),
        "MGRS_TILE": scene.granule.name,
        "MODEL_VERSION": 1,
        "SOURCE_ASSET_ID": f"COPERNICUS/S2/{scene.index}",
        "SOURCE_PRODUCT_ID": level_1c_properties(scene)["PRODUCT_ID"],
    }


def _usable(day: Day) -> F32:
    """1 where the view is clear; clouds, thin ones, cirrus and shadows take from it."""
    sky = day.sky
    thick = np.minimum(sky.cloud * np.float32(1.6), np.float32(1))
    out: F32 = (1 - thick) * (1 - np.minimum(sky.cirrus * np.float32(2.2), np.float32(0.75)))
    out *= 1 - np.float32(0.65) * sky.shadow
    out *= np.float32(0.985) - np.float32(0.06) * day.snow - np.float32(0.05) * np.abs(day.land.tone - 1)
    return np.clip(out, 0, 1, out=out)


def _cs(day: Day) -> NDArray[Any]:
    return _usable(day)


def _cs_cdf(day: Day) -> NDArray[Any]:
    """Usability against what the place usually shows: stretched, so that ordinary clear pixels are near 1."""
    out = _usable(day)
    out *= np.float32(1.06)
    out -= np.float32(0.03)
    return np.clip(out, 0, 1, out=out)


SCORES = {name: BandSpec(name, 10, np.dtype("float32"), make) for name, make in (("cs", _cs), ("cs_cdf", _cs_cdf))}
