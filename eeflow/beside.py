"""What lies beside a product: its quicklook and item; and beside them all: catalog and table."""

from __future__ import annotations

from pathlib import Path

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.gridfile import read_grid
from eeflow.ledger import Entry, Ledger
from eeflow.quicklook import write_quicklook
from eeflow.stac import item_name, write_catalog, write_item
from eeflow.table import write_table


def write_beside(job: Job, entry: Entry) -> None:
    """Writes what the job wants beside one product; before the ledger has its row, so that nothing lacks after it."""
    if job.output.quicklook:
        write_quicklook(job.folder / entry.path)
    if job.output.stac:
        write_item(job, entry)


def product_files(folder: Path, path: str) -> tuple[Path, ...]:
    """A product, given its file's name, and what lies beside it, there or not."""
    tif = folder / path
    return tif, Path(f"{tif}.aux.xml"), tif.with_suffix(".png"), folder / item_name(path)


def remove_product(folder: Path, path: str) -> None:
    """Removes a product, given its file's name, and what lies beside it."""
    for file in product_files(folder, path):
        file.unlink(missing_ok=True)


def finish_folder(job: Job, aoi: AOI) -> None:
    """Writes what tells of all products of a folder, from the ledger: it is right after any run, also a killed one."""
    grid = read_grid(job.folder)
    if grid is None:
        return
    entries = list(Ledger(job.folder).intact().values())
    if job.output.stac:
        write_catalog(job, grid, entries)
    if job.output.table != "none":
        write_table(job, grid, aoi, entries)
