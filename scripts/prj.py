"""Writes crates/formats/src/vector/projection/esri.tsv: the well-known text of every system that the server knows.

Shapefiles name their system in no other way, and GeoPackages want it too. ESRI's dialect of WKT 1 is what a `.prj` holds.
Run it after `crs.py write`, whose list of systems it takes.
"""

import warnings
from pathlib import Path

from crs import CODES
from pyproj import CRS

TABLE = Path(__file__).parent.parent / "crates/formats/src/vector/projection/esri.tsv"

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows = [f"{code}\t{CRS.from_epsg(code).to_wkt('WKT1_ESRI')}\n" for code in CODES]
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("".join(rows))
    print(f"{len(rows)} systems in {TABLE}")
