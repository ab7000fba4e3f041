"""The job that `eeflow demo` runs."""

from __future__ import annotations

from pathlib import Path

from eeflow.config import Job
from eeflow.jobfile import parse_job

# A winter-wheat parcel of about 20 hectares among others near Herne, Belgium.
_FARM = {
    "type": "Polygon",
    "coordinates": [[[4.0585, 50.7432], [4.0655, 50.7428], [4.0678, 50.7462], [4.0592, 50.7481], [4.0585, 50.7432]]],
}


def demo_job(root: Path) -> Job:
    """A farm, the visible and near-infrared bands of Sentinel-2, two months of nearly cloudless scenes."""
    return parse_job(
        {
            "name": "herne-farm",
            "aoi": {"geojson": _FARM, "buffer": 200},
            "collection": "COPERNICUS/S2_SR_HARMONIZED",
            "bands": ["B2", "B3", "B4", "B8"],
            "dates": {"start": "2024-05-01", "end": "2024-07-01"},
            "filters": {"CLOUDY_PIXEL_PERCENTAGE": {"lt": 20}},
            "output": {"root": str(root)},
        },
        source="the demo's job",
    )
