"""What the models of a job have in common: strict, unchangeable, and shown as a form in the Prefect UI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# Titles in the Prefect form; other fields are called by their name.
_TITLES = {
    "aoi": "Area of interest",
    "bbox": "Bounding box",
    "crs": "CRS",
    "dtype": "Data type",
    "geojson": "GeoJSON",
    "max_gib": "Max GiB",
    "max_eecu_seconds_per_month": "Max EECU-seconds per month",
    "stac": "STAC",
    "within": "In",
}


def _title(name: str, _info: object) -> str:
    return _TITLES.get(name, name.replace("_", " ").capitalize())


_BOUNDS = ("pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def in_form(pattern: str) -> dict[str, Any]:
    """Has the Prefect form check a text at its field; the model itself says more when it is wrong."""
    return {"pattern": f"^({pattern})$"}


def _at_the_field(schema: dict[str, Any]) -> None:
    """Writes the bounds of fields one level further down, in `allOf` or `anyOf`, where they mean the same.

    Prefect's form has what is written into it checked by those keywords of a field that it knows, and shows there what
    is wrong. Bounds are not among them, so that only the whole form would be refused; `allOf` and `anyOf` are, with all
    that is in them.
    """
    for field in schema["properties"].values():
        bounds = {name: field.pop(name) for name in _BOUNDS if name in field}
        if "anyOf" in field:  # a value, or none
            field["anyOf"][0] |= bounds
        elif bounds:
            field["allOf"] = [bounds]


class Model(BaseModel):
    """Knows no keys but its own, and does not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        field_title_generator=_title,
        json_schema_extra=_at_the_field,
    )
