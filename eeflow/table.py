"""A job's time series as a table: for each product, what each band is over the area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask, geometry_window
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.ledger import Entry
from eeflow.output import whole_file

if TYPE_CHECKING:  # pandas is only imported where a table is read or written
    import pandas as pd

STATISTICS = ("mean", "median", "std", "count")
_FIXED = ["time", "product", "scene_ids", "sha256"]


def write_table(job: Job, grid: GeoBox, aoi: AOI, entries: Iterable[Entry]) -> Path:
    """Writes `<name>.csv` or `<name>.parquet`; products that are in it already, unchanged, are not read again."""
    path = table_path(job.folder, job.name, job.output.table)
    area = aoi.to_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()))
    table = area_table(job.folder, area, entries, read_table(path))
    with whole_file(path) as part:
        if path.suffix == ".csv":
            table.to_csv(part, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
        else:
            table.to_parquet(part, index=False)
    return path


def table_path(folder: Path, name: str, form: str) -> Path:
    """Where the table is."""
    return folder / f"{name}.{form}"


def read_table(path: Path) -> pd.DataFrame | None:
    """A table as `write_table` wrote it; None where there is none, or something else."""
    import pandas as pd  # noqa: PLC0415

    try:
        if path.suffix == ".csv":
            text = {"product": str, "scene_ids": str, "sha256": str}
            table = pd.read_csv(path, dtype=text, float_precision="round_trip", keep_default_na=False, na_values=[""])
        else:
            table = pd.read_parquet(path)
        table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601").astype("datetime64[ms, UTC]")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return table if set(_FIXED) <= set(table.columns) else None


def area_table(
    folder: Path, area: BaseGeometry, entries: Iterable[Entry], known: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a product, by time.

    Columns are `time`, `product`, `scene_ids` (with spaces between), `sha256`, and for each band `<band>_mean`,
    `_median`, `_std` (of the population) and `_count`: of the stored values of valid pixels whose centre lies in the
    area; empty, with count 0, where there is none.

    Args:
        folder: where the products are.
        area: in the CRS of the products' grid.
        entries: the products.
        known: a table of before; its rows of unchanged products are taken from it.
    """
    import pandas as pd  # noqa: PLC0415

    before = {} if known is None else {row["sha256"]: row for row in known.to_dict("records")}
    inside: dict[Any, tuple[Window, NDArray[np.bool_]]] = {}
    rows = []
    for entry in entries:
        known_row = before.get(entry.sha256)
        rows.append(_fixed(entry) | (_measured(known_row) if known_row else _measure(folder, entry, area, inside)))
    columns = dict.fromkeys(_FIXED + [name for row in rows for name in row])
    table = pd.DataFrame(rows, columns=list(columns))
    table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601").astype("datetime64[ms, UTC]")
    for name in columns:
        if name.endswith("_count"):
            table[name] = table[name].astype("Int64")
    return table.sort_values(["time", "product"], na_position="first", ignore_index=True)


def _fixed(entry: Entry) -> dict[str, Any]:
    return {
        "time": entry.time_start,
        "product": Path(entry.path).stem,
        "scene_ids": " ".join(entry.scene_ids),
        "sha256": entry.sha256,
    }


def _measured(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What an earlier table says of a product; columns of other products' bands are empty, not even counted."""
    import pandas as pd  # noqa: PLC0415

    bands = [
        str(name).removesuffix("_count")
        for name, value in row.items()
        if str(name).endswith("_count") and pd.notna(value)
    ]
    return {f"{band}_{statistic}": row[f"{band}_{statistic}"] for band in bands for statistic in STATISTICS}


def _measure(
    folder: Path, entry: Entry, area: BaseGeometry, inside: dict[Any, tuple[Window, NDArray[np.bool_]]]
) -> dict[str, float | int | None]:
    with rasterio.open(folder / entry.path) as raster:
        key = (raster.transform, raster.shape)
        if key not in inside:
            inside[key] = _inside(raster, area)
        window, mask = inside[key]
        row: dict[str, float | int | None] = {}
        for index, name in zip(raster.indexes, raster.descriptions, strict=True):
            values = raster.read(index, window=window, masked=True)
            valid = np.asarray(values.data[mask & ~np.ma.getmaskarray(values)], np.float64)
            valid = valid[np.isfinite(valid)]
            found = (valid.mean(), np.median(valid), valid.std()) if valid.size else (None, None, None)
            for statistic, value in zip(STATISTICS, (*found, valid.size), strict=True):
                row[f"{name}_{statistic}"] = value if value is None or statistic == "count" else float(value)
        return row


def _inside(raster: Any, area: BaseGeometry) -> tuple[Window, NDArray[np.bool_]]:
    """The window of a raster that holds the area, and which of its pixels have their centre in it."""
    try:
        window = geometry_window(raster, [area])
    except rasterio.errors.WindowError:  # a grid of the user's own may lie beside the area
        return Window(0, 0, 1, 1), np.zeros((1, 1), bool)
    shape = (window.height, window.width)
    return window, np.asarray(geometry_mask([area], shape, raster.window_transform(window), invert=True))
