"""`python -m eelocal.coverage`: which of Earth Engine's algorithms are here, as the table in docs/eelocal.md."""

from __future__ import annotations

import sys
from pathlib import Path

from eelocal.registry import registry
from eelocal.signatures import signatures

BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"


def table() -> str:
    """Markdown: families with how many of their algorithms there are, and their names."""
    families: dict[str, list[str]] = {}
    for name in signatures():
        families.setdefault(name.partition(".")[0], []).append(name)
    here = registry()
    lines = [f"{len(here)} of {len(signatures())} algorithms.", "", "| family | here | names |", "|---|---|---|"]
    for family, names in sorted(families.items()):
        found = sorted(name.partition(".")[2] or name for name in names if name in here)
        if found:
            lines.append(f"| {family} | {len(found)} of {len(names)} | {', '.join(found)} |")
    return "\n".join(lines)


def main(path: Path) -> int:
    """Writes the table between its marks in a Markdown file."""
    text = path.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
