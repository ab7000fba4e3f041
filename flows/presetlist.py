"""What `eeflow presets` shows: the collections that presets know, for people and programs."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.table import Table

from eeflow.presets import presets


def as_json() -> list[dict[str, Any]]:
    """All presets as plain values; what is not known is left out."""
    return [
        {"id": asset_id, **preset.model_dump(mode="json", exclude_defaults=True)}
        for asset_id, preset in presets().collections.items()
    ]


def show() -> None:
    """Prints a table as wide as the terminal; into a pipe, which has no width, a wide one."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    table = Table(box=None, pad_edge=False)
    table.add_column("id", overflow="fold", no_wrap=True)
    for header in ("what", "usual bands"):
        table.add_column(header, overflow="fold")
    table.add_column("clouds", overflow="fold", no_wrap=True)
    for asset_id, preset in presets().collections.items():
        bands = ", ".join(preset.default_bands) or "all"
        table.add_row(asset_id, preset.title, bands, "\n".join(preset.clouds) or "-")
    console.print(table)
    console.print(
        "Any other collection works too. EEFLOW_PRESETS names a YAML file that adds to these or changes them."
    )
