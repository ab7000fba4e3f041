"""The properties of Sentinel-2 scenes, named as Earth Engine names them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from eelocal.world import utm
from eelocal.world.hashing import scalar_unit
from eelocal.world.landscape import Landscape, landscape
from eelocal.world.materials import GREENNESS, IS_FOREST, IS_WATER, PHASES
from eelocal.world.mgrs import GRANULE_SIZE, Granule
from eelocal.world.orbit import SWATH_HALF, cross_track
from eelocal.world.scenes import Scene, stamp
from eelocal.world.sun import sun_distance
from eelocal.world.weather import cirrus_field, cloud_share, temperature
from eelocal.world.window import Nodes, Window

_SIDE = 36  # sample places a side of a granule
# Start of each processing baseline: ESA, "Sentinel-2 Products Specification", history of baselines
_BASELINES = (
    (0, "02.04"),
    (1_507_680_000_000, "02.06"),
    (1_541_462_400_000, "02.10"),
    (1_562_544_000_000, "02.13"),
    (1_580_774_400_000, "02.14"),
    (1_612_224_000_000, "03.00"),
    (1_625_011_200_000, "03.01"),
    (1_643_068_800_000, "04.00"),
    (1_670_284_800_000, "05.09"),
    (1_702_425_600_000, "05.10"),
    (1_721_692_800_000, "05.11"),
)
_IRRADIANCE = {
    "B1": 1884.69, "B2": 1959.66, "B3": 1823.24, "B4": 1512.06, "B5": 1424.64, "B6": 1287.61, "B7": 1162.08,
    "B8": 1041.63, "B8A": 955.32, "B9": 812.92, "B10": 367.15, "B11": 245.59, "B12": 85.25,
}  # fmt: skip


def baseline_of(time_ms: float) -> str:
    """Processing baseline in force at a time, such as `05.10`."""
    return [name for start, name in _BASELINES if start <= time_ms][-1]


def level_2a_properties(scene: Scene) -> dict[str, Any]:
    """All properties of a Level-2A scene; percentages are of the pixels inside the swath."""
    offsets = _offsets("BOA") if baseline_of(scene.time_ms) >= "04.00" else {}
    return _identity(scene, "L2A") | _geometry(scene) | _percentages(scene) | offsets


def level_1c_properties(scene: Scene) -> dict[str, Any]:
    """All properties of a Level-1C scene."""
    kept = ("CLOUDY_PIXEL_PERCENTAGE", "CLOUD_COVERAGE_ASSESSMENT")
    cover = {name: value for name, value in _percentages(scene).items() if name in kept}
    offsets = _offsets("RADIO") if baseline_of(scene.time_ms) >= "04.00" else {}
    return _identity(scene, "L1C") | _geometry(scene) | cover | offsets


def _offsets(kind: str) -> dict[str, Any]:
    return {f"{kind}_ADD_OFFSET_{name}": -1000 for name in _IRRADIANCE}


def _identity(scene: Scene, level: str) -> dict[str, Any]:
    pass_, tile = scene.overflight, scene.granule.name
    baseline = baseline_of(scene.time_ms)
    spacecraft, orbit = f"S2{pass_.satellite}", pass_.absolute_orbit
    taken, made = stamp(scene.datatake_ms), stamp(scene.generation_ms)
    order = f"N{baseline.replace('.', '')}_R{pass_.relative_orbit:03d}"
    return {
        "system:index": scene.index,
        "system:time_start": scene.time_ms,
        "system:time_end": scene.time_ms,
        "system:asset_size": int(scene.view.share * 1.55e9 * (0.9 + 0.25 * scalar_unit("size", scene.index))),
        "SPACECRAFT_NAME": f"Sentinel-2{pass_.satellite}",
        "MGRS_TILE": tile,
        "PRODUCT_ID": f"{spacecraft}_MSI{level}_{taken}_{order}_T{tile}_{made}",
        "GRANULE_ID": f"{level}_T{tile}_A{orbit:06d}_{stamp(scene.datastrip_ms)}",
        "DATASTRIP_ID": f"{spacecraft}_OPER_MSI_{level}_DS_2APS_{made}_S{stamp(scene.datastrip_ms)}_N{baseline}",
        "DATATAKE_IDENTIFIER": f"G{spacecraft}_{taken}_{orbit:06d}_N{baseline}",
        "DATATAKE_TYPE": "INS-NOBS",
        "PROCESSING_BASELINE": baseline,
        "GENERATION_TIME": scene.generation_ms,
        "SENSING_ORBIT_NUMBER": pass_.relative_orbit,
        "SENSING_ORBIT_DIRECTION": "DESCENDING",
        **dict.fromkeys(("SENSOR_QUALITY", "GENERAL_QUALITY", "GEOMETRIC_QUALITY", "RADIOMETRIC_QUALITY"), "PASSED"),
        "FORMAT_CORRECTNESS": "PASSED",
    }


def _geometry(scene: Scene) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "system:footprint": {"type": "LinearRing", "coordinates": ring(scene.view.outline)},
        "MEAN_SOLAR_ZENITH_ANGLE": scene.sun.zenith,
        "MEAN_SOLAR_AZIMUTH_ANGLE": scene.sun.azimuth,
        "REFLECTANCE_CONVERSION_CORRECTION": 1 / sun_distance(scene.time_ms) ** 2,
        "NODATA_PIXEL_PERCENTAGE": round(100 * (1 - scene.view.share), 6),
        "SATURATED_DEFECTIVE_PIXEL_PERCENTAGE": 0,
    }
    across, _ = cross_track(*scene.granule.centre, scene.view.relative_orbit)
    zenith = 1.3 + abs(float(across)) * 8.1  # 10.6 degrees at the edge of the swath
    for name, irradiance in _IRRADIANCE.items():
        properties[f"SOLAR_IRRADIANCE_{name}"] = irradiance
        if name != "B10":
            properties[f"MEAN_INCIDENCE_ZENITH_ANGLE_{name}"] = zenith
            properties[f"MEAN_INCIDENCE_AZIMUTH_ANGLE_{name}"] = 104.5 if across > 0 else 288.0
    return properties


def ring(outline: Polygon) -> list[list[float]]:
    """Coordinates of a footprint's ring, longitude first."""
    return [[float(lon), float(lat)] for lon, lat in outline.exterior.coords]


@lru_cache(maxsize=256)
def _samples(granule: Granule) -> tuple[Landscape, Nodes]:
    """The landscape of a granule at a few places, and the same places as nodes."""
    step = GRANULE_SIZE / _SIDE
    window = Window(granule.zone, granule.left + step / 2, granule.top - step / 2, step, _SIDE, _SIDE)
    lon, lat = utm.inverse(window.xs[None, :], window.ys[:, None], granule.zone)
    return landscape(window), Nodes(step, 0, 0, lon, lat)


def _percentages(scene: Scene) -> dict[str, Any]:
    land, nodes = _samples(scene.granule)
    across, _ = cross_track(nodes.longitude, nodes.latitude, scene.view.relative_orbit)
    inside = np.abs(across) <= SWATH_HALF
    if not inside.any():
        inside[:] = True

    def percent(share: NDArray[Any]) -> float:
        return round(100 * float(np.mean(share[inside])), 6)

    cloud = cloud_share(nodes, scene.overpass)
    cirrus = np.where(cirrus_field(nodes, scene.overpass) > 0.1, 1.0 - cloud, 0.0)
    clear = 1 - cloud - cirrus
    shadow = 0.35 * clear * cloud
    clear -= shadow
    phase = land.phase + np.uint8(int(scene.overpass.year * PHASES) % PHASES)
    green = GREENNESS[land.material, phase] * land.vigour > 0.30
    snow = (temperature(nodes, scene.overpass) - land.height * 0.0065 < -3.6) & ~IS_FOREST[land.material]
    water = IS_WATER[land.material]
    snow &= ~water
    plain = ~water & ~snow
    cloudy = percent(cloud + cirrus)
    return {
        "CLOUDY_PIXEL_PERCENTAGE": cloudy,
        "CLOUD_COVERAGE_ASSESSMENT": cloudy,
        "CLOUDY_PIXEL_OVER_LAND_PERCENTAGE": cloudy,
        "HIGH_PROBA_CLOUDS_PERCENTAGE": percent(0.75 * cloud),
        "MEDIUM_PROBA_CLOUDS_PERCENTAGE": percent(0.25 * cloud),
        "THIN_CIRRUS_PERCENTAGE": percent(cirrus),
        "CLOUD_SHADOW_PERCENTAGE": percent(shadow),
        "VEGETATION_PERCENTAGE": percent(clear * (plain & green)),
        "NOT_VEGETATED_PERCENTAGE": percent(clear * (plain & ~green)),
        "WATER_PERCENTAGE": percent(clear * water),
        "SNOW_ICE_PERCENTAGE": percent(clear * snow),
        "DARK_FEATURES_PERCENTAGE": 0,
        "UNCLASSIFIED_PERCENTAGE": 0,
    }
