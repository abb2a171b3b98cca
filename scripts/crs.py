"""The coordinate reference systems that the server knows, held against PROJ.

    crs.py write            writes crates/formats/src/crs/table.rs anew from PROJ's copy of the EPSG register
    crs.py check < DUMP     compares what `cargo run -p anabranch-formats --example crs_table` printed with PROJ

To admit a system, add its code below, write, and check. PROJ works without its grids here: a system whose shift to WGS 84
needs one to be as good as its register says is not admitted.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import pyproj
from pyproj import CRS, Transformer
from pyproj.database import query_crs_info
from pyproj.enums import PJType
from pyproj.transformer import TransformerGroup

TABLE = Path(__file__).parent.parent / "crates/formats/src/crs/table.rs"

# As the register calls what a system counts in, as crs.rs does, and what that is in metres. EPSG:9002 and 9003.
UNITS = {
    "degree": ("Degree", None),
    "metre": ("Metre", 1),
    "foot": ("Foot", 0.3048),
    "US survey foot": ("UsSurveyFoot", 1200 / 3937),
}


# Hawaii and the Aleutians: the register moves NAD 83 to WGS 84 by a metre there, and by nothing elsewhere.
MOVED = {3759, 4217, 4420, 4421, 4422}


def in_feet(datum, codes):
    """The projected systems of a datum that are counted in feet: the zones of the State Plane, and what states have beside them."""
    systems = query_crs_info("EPSG", PJType.PROJECTED_CRS)
    wanted = (s for s in systems if s.name.startswith(f"{datum} / ") and s.name.endswith(("(ftUS)", "(ft)")))
    return {int(s.code) for s in wanted if int(s.code) in codes} - MOVED


CODES = sorted({
    # The world.
    4326, 3857, 3395, 4087, 6933,
    *range(32601, 32661), *range(32701, 32761),
    # The poles.
    3031, 3413, 3571, 3572, 3573, 3574, 3575, 3576, 3995, 5041, 5042, 6931, 6932,
    # Europe, and its countries.
    4258, 3034, 3035, *range(25828, 25838), 3045, 3046, 3047,
    2100, 2154, 2157, 2176, 2177, 2178, 2179, 2180, 2056, 21781, 3006, 3059, 3067, 3301, 3346, 3763, 3765, 3794, 3812, 3844,
    23700, 25884, 27572, 28992, 29902, 29903, 31370, 5110, 7801, 9794, *range(3942, 3951),
    # North America.
    4269, 26903, *range(26906, 26924), 5070, 3310, 3347, 3978, 3979,
    *in_feet("NAD83", range(100_000)), *in_feet("NAD83(2011)", range(6400, 6700)),
    # South America.
    4674, *range(31965, 31986), 5880,
    # Asia.
    2039, 2326, 3414, 3826, 4490, 5181, 5186, 6668, 6677,
    # Oceania.
    4283, *range(28348, 28359), 3112, 3577, 7844, *range(7846, 7860), 4167, 2193,
})

# What our results may differ by from PROJ's, in metres on the ground.
TOLERANCE_M = 0.01
# A degree of latitude, about.
DEGREE_M = 111_320.0


def y_first(crs):
    """The register says northing (latitude) first."""
    first = crs.axis_info[0]
    return first.direction == "north" and crs.axis_info[1].direction == "east" or first.abbrev == "N"


def shift(crs):
    """The `+towgs84` of the transformation that PROJ takes to WGS 84 without grids; empty where it takes none."""
    for transformer in TransformerGroup(crs, "OGC:CRS84", always_xy=True).transformers:
        steps = [step for step in transformer.definition.split() if "=" in step]
        values = dict(step.split("=", 1) for step in steps)
        if "hgridshift" in transformer.definition:
            continue
        if "helmert" not in transformer.definition:
            return ""
        sign = -1 if values.get("convention") == "coordinate_frame" else 1
        if "inv proj=helmert" in transformer.definition:
            raise ValueError(f"{crs.name}: {transformer.definition}")
        moved = [float(values.get(name, 0)) for name in "xyz"]
        turned = [sign * float(values.get(name, 0)) for name in ("rx", "ry", "rz")]
        numbers = [*moved, *turned, float(values.get("s", 0))]
        return " +towgs84=" + ",".join(f"{number + 0:g}" if number else "0" for number in numbers) if any(numbers) else ""
    raise ValueError(f"PROJ has no way to WGS 84 without a grid from {crs.name}")


def definition(crs):
    """For proj4rs."""
    text = crs.to_proj4().replace(" +no_defs", "").replace(" +type=crs", "").replace(" +wktext", "")
    if "+datum=" not in text and "+nadgrids=" not in text:
        text += shift(crs) or " +towgs84=0,0,0,0,0,0,0"
    return text


def row(code):
    crs = CRS.from_epsg(code)
    order = "YX" if y_first(crs) else "XY"
    unit, _ = UNITS[crs.axis_info[0].unit_name]
    area = ", ".join(repr(bound) for bound in crs.area_of_use.bounds)
    return f'    row({code}, "{crs.name}", {order}, {unit}, [{area}], "{definition(crs)}"),\n'


def write():
    rows = "".join(row(code) for code in CODES)
    TABLE.write_text(f"""\
//! The systems of the EPSG register that are known here. Written by `scripts/crs.py write`, which chooses them.

use super::AxisOrder::{{self, Xy as XY, Yx as YX}};
use super::Unit::{{self, Degree, Foot, Metre, UsSurveyFoot}};
use super::System;

const fn row(
    code: u32,
    name: &'static str,
    register_order: AxisOrder,
    unit: Unit,
    area: [f64; 4],
    definition: &'static str,
) -> System {{
    System {{ code, name, register_order, unit, area, definition }}
}}

/// By ascending code.
#[rustfmt::skip]
pub(super) static TABLE: &[System] = &[
{rows}];
""")
    print(f"{len(CODES)} systems in {TABLE}")


def metres_apart(a, b, metres):
    """Between two positions of a system whose unit has so many metres; degrees have none."""
    x, y = a[0] - b[0], a[1] - b[1]
    if metres is None:
        x, y = (x + 180) % 360 - 180, y  # the antimeridian is one line
        return math.hypot(x * DEGREE_M * math.cos(math.radians(a[1])), y * DEGREE_M)
    return math.hypot(x, y) * metres


def faults(known):
    """What is wrong with one system, as lines; and the greatest distance to PROJ, in metres."""
    crs = CRS.from_epsg(known["code"])
    if known["name"] != crs.name:
        yield f"is called {crs.name}", 0
    if known["y_first"] != y_first(crs):
        yield f"has the axes {[axis.direction for axis in crs.axis_info]}", 0
    unit, metres = UNITS[crs.axis_info[0].unit_name]
    if known["unit"] != unit:
        yield f"is counted in {crs.axis_info[0].unit_name}", 0
    if tuple(known["area"]) != crs.area_of_use.bounds:
        yield f"is for the area {crs.area_of_use.bounds}", 0
    there = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    back = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    for position in known["positions"]:
        start, ours, again = position["from"], position["there"], position["back"]
        theirs = there.transform(*start)
        if ours is None or again is None:
            yield f"has no place for {start}, which PROJ has at {theirs}", math.inf
            continue
        for a, b, metres_each in ((ours, theirs, metres), (again, back.transform(*ours), None)):
            apart = metres_apart(a, b, metres_each)
            # "not <=" rather than ">": PROJ's infinities make it NaN.
            yield (f"is {apart:.3f} m off at {start}: {a}, and PROJ has {b}" if not apart <= TOLERANCE_M else None), apart


def check(lines):
    wrong = seen = positions = 0
    greatest = 0.0
    for known in map(json.loads, lines):
        seen += 1
        positions += len(known["positions"])
        found = list(faults(known))
        texts = [text for text, _ in found if text]
        if texts:
            wrong += 1
            worst = max(apart for _, apart in found)
            print(f"EPSG:{known['code']} {texts[0]} ({len(texts)} faults, {worst:.3f} m at most)")
        else:
            greatest = max(greatest, *(apart for _, apart in found))
    print(f"{seen} systems at {positions} positions, {wrong} wrong; the others are within {greatest * 1000:.3f} mm of PROJ {pyproj.proj_version_str}")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # to_proj4 says that it loses something; check() says whether that matters
    pyproj.network.set_network_enabled(False)
    if sys.argv[1:] == ["write"]:
        write()
    elif sys.argv[1:] == ["check"]:
        sys.exit(check(sys.stdin))
    else:
        sys.exit(__doc__)
