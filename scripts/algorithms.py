"""Runs the built-in algorithms beside shapely, rasterio with numpy, and pyproj: algorithms.py RUN_ALGORITHM FOLDER.

FOLDER has contours.geojson: the contour lines of the example's elevation model.
"""
import json
import os
import subprocess
import sys

import numpy as np
import rasterio
import shapely
from pyproj import Geod
from rasterio.windows import Window

program, folder = sys.argv[1:]
DEM = "examples/data/jacksboro_dem.tif"
checks = 0


def check(is_right, text):
    global checks
    checks += 1
    if not is_right:
        raise SystemExit(f"algorithms: {text}")


def path(name):
    return os.path.join(folder, name)


def run(process, output, *arguments):
    if os.path.exists(path(output)):
        os.remove(path(output))
    subprocess.run([program, process, path(output), *arguments], check=True, stdout=subprocess.DEVNULL)
    return path(output)


def features(name):
    with open(name) as file:
        return json.load(file)["features"]


def write(name, geometries):
    with open(path(name), "w") as file:
        listed = [{"type": "Feature", "id": i, "properties": {"n": i}, "geometry": json.loads(shapely.to_geojson(g))}
                  for i, g in enumerate(geometries)]
        json.dump({"type": "FeatureCollection", "features": listed}, file)
    return path(name)


contours = path("contours.geojson")
lines = [shapely.geometry.shape(feature["geometry"]) for feature in features(contours)]

# ---- Douglas-Peucker: the same vertices as GEOS keeps, whatever the tolerance
for tolerance in (0, 0.0001, 0.0005, 0.002, 0.01):
    ours = features(run("simplify_douglas_peucker", "simplified.geojson", f"data=@{contours}", f"tolerance={tolerance}"))
    theirs = shapely.simplify(lines, tolerance, preserve_topology=False)
    check(len(ours) == len(theirs), f"{len(ours)} features, not {len(theirs)}")
    for feature, expected in zip(ours, theirs):
        got = shapely.geometry.shape(feature["geometry"])
        # GEOS leaves out what is there twice of a line that shrinks to a point.
        check(got.equals(expected) or list(got.coords) == list(expected.coords),
              f"feature {feature['properties']} differs from GEOS's at tolerance {tolerance}: {got} instead of {expected}")

# ---- snapping: the same places as GEOS finds
random = np.random.default_rng(42)
west, south, east, north = shapely.total_bounds(lines)
places = np.column_stack([random.uniform(west, east, 1500), random.uniform(south, north, 1500)])
points = shapely.points(places)
given = write("points.geojson", points)
tree = shapely.STRtree(lines)
for distance in (0.0002, 0.001, 0.01):
    ours = {feature["id"]: feature for feature in features(run(
        "snap_points_to_lines", "snapped.geojson", f"points=@{given}", f"lines=@{contours}", f"max_distance={distance}", "report=true"))}
    nearest = tree.nearest(points)
    matched = 0
    for number, (point, line) in enumerate(zip(points, nearest)):
        expected = lines[line].distance(point)
        if expected > distance:
            check(number not in ours, f"point {number} is {expected} from a line and was snapped within {distance}")
            continue
        matched += 1
        feature = ours[number]
        got = shapely.geometry.shape(feature["geometry"])
        told = feature["properties"]
        check(feature["properties"]["n"] == number, f"properties of {number}")
        check(abs(told["snap_distance"] - expected) < 1e-12, f"point {number}: {told} instead of {expected}")
        check(abs(got.distance(point) - expected) < 1e-12, f"point {number} is {got}")
        place = lines[line].interpolate(lines[line].project(point))
        # Several lines may be as near: then it is enough to be on one.
        check(got.distance(place) < 1e-9 or abs(lines[line].distance(got)) < 1e-9 or
              min(other.distance(got) for other in lines) < 1e-12, f"point {number} is {got} instead of {place}")
    check(len(ours) == matched, f"{len(ours)} points snapped, not {matched}")

# ---- on the ellipsoid: distances are GeographicLib's, and no place of the lines is nearer
geod = Geod(ellps="WGS84")
ours = features(run("snap_points_to_lines", "snapped.geojson", f"points=@{given}", f"lines=@{contours}", "max_distance=500",
                    "report=true", "geodesic=true"))
sampled = shapely.get_coordinates(shapely.segmentize(lines, 0.00002))
grid = shapely.STRtree(shapely.points(sampled))
for feature in ours[::10]:
    number, told = feature["id"], feature["properties"]["snap_distance"]
    place, target = places[number], feature["geometry"]["coordinates"]
    exact = geod.inv(*place, *target)[2]
    check(abs(exact - told) < 1e-6, f"point {number} is said to be moved by {told} m, and was by {exact} m")
    near = grid.query(shapely.box(place[0] - 0.008, place[1] - 0.006, place[0] + 0.008, place[1] + 0.006))
    around = sampled[near]
    _, _, distances = geod.inv(np.full(len(around), place[0]), np.full(len(around), place[1]), around[:, 0], around[:, 1])
    check(told <= distances.min() + 1e-3, f"point {number} was moved by {told} m, and {distances.min()} m would do")

# ---- NDWI: every cell as numpy computes it in 32 bits
with rasterio.open(DEM) as source:
    profile, nir = source.profile, source.read(1)
swir = nir[::-1, ::-1].copy()
for dtype, layout in (("int16", {"tiled": True, "blockxsize": 64, "blockysize": 128, "compress": "deflate", "predictor": 2}),
                      ("uint16", {"compress": "lzw", "blockysize": 1}), ("float32", {"compress": "zstd", "predictor": 3, "tiled": True,
                                                                                      "blockxsize": 256, "blockysize": 256}), ("uint8", {})):
    names = []
    for name, values in (("nir.tif", nir), ("swir.tif", swir)):
        meta = {key: value for key, value in profile.items() if key not in ("tiled", "blockxsize", "blockysize", "compress", "interleave")}
        meta.update(dtype=dtype, nodata=200, driver="GTiff", **layout)
        with rasterio.open(path(name), "w", **meta) as out:
            out.write((values % 256 if dtype == "uint8" else values).astype(dtype), 1)
        names.append(path(name))
    with rasterio.open(names[0]) as a, rasterio.open(names[1]) as b:
        first, second = a.read(1).astype("float32"), b.read(1).astype("float32")
        with np.errstate(all="ignore"):
            expected = (first - second) / (first + second)
        expected[(first == 200) | (second == 200) | (first + second == 0)] = np.nan
        transform, crs = a.transform, a.crs
    for compression in ("deflate", "zstd", "none"):
        with rasterio.open(run("ndwi", "ndwi.tif", f"nir=@{names[0]}", f"swir=@{names[1]}", f"compression={compression}")) as result:
            check(np.array_equal(result.read(1), expected, equal_nan=True), f"ndwi of {dtype} differs from numpy's")
            check((result.transform, result.crs, result.dtypes) == (transform, crs, ("float32",)), f"ndwi: {result.profile}")
            check(np.isnan(result.nodata) and result.profile["tiled"], f"ndwi: {result.profile}")
            part = result.read(1, window=Window(300, 200, 50, 60))
            check(np.array_equal(part, expected[200:260, 300:350], equal_nan=True), "a window of the result")

print(f"algorithms: {checks} comparisons with shapely {shapely.__version__} (GEOS {shapely.geos_version_string}), rasterio "
      f"{rasterio.__version__} (GDAL {rasterio.__gdal_version__}), numpy {np.__version__} and pyproj agree")
