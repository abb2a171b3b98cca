"""What Python's users write for the work of our built-ins, with shapely (GEOS), geopandas and rasterio (GDAL). Prints seconds without imports."""
import glob
import json
import sys
import time

import numpy as np


def make_bands(folder, side):
    """Two bands of slopes with noise on them, as sensors have them: 16 bits, tiles of 512, Deflate with predictor 2."""
    import rasterio
    from rasterio.transform import from_origin
    random = np.random.default_rng(42)
    y, x = np.mgrid[0:side, 0:side].astype("float32") / side
    for name, base in (("nir", 3000), ("swir", 1500)):
        values = base + 800 * np.sin(40 * x + base) * np.cos(30 * y) + random.normal(0, 20, (side, side)).astype("float32")
        profile = dict(driver="GTiff", width=side, height=side, count=1, dtype="uint16", crs="EPSG:25832", nodata=0, tiled=True,
                       blockxsize=512, blockysize=512, compress="deflate", predictor=2, transform=from_origin(5e5, 5e6, 10, 10))
        with rasterio.open(f"{folder}/{name}.tif", "w", **profile) as out:
            out.write(values.astype("uint16"), 1)


def ndwi(nir, swir, output):
    """A row of tiles at a time: quicker and smaller than the whole at once."""
    import rasterio
    from rasterio.windows import Window
    began = time.perf_counter()
    with rasterio.open(nir) as a, rasterio.open(swir) as b:
        profile = dict(a.profile, dtype="float32", nodata=float("nan"), compress="deflate", zlevel=1, predictor=3)
        with rasterio.open(output, "w", **profile) as out, np.errstate(all="ignore"):
            for row in range(0, a.height, 512):
                window = Window(0, row, a.width, min(512, a.height - row))
                first, second = a.read(1, window=window), b.read(1, window=window)
                none = (first == a.nodata) | (second == b.nodata)
                first, second = first.astype("float32"), second.astype("float32")
                index = (first - second) / (first + second)
                index[none] = np.nan
                out.write(index, 1, window=window)
    return {"seconds": time.perf_counter() - began}


def same_raster(a, b):
    import rasterio
    with rasterio.open(a) as first, rasterio.open(b) as second:
        return {"same": all(np.array_equal(first.read(1, window=w), second.read(1, window=w), equal_nan=True)
                            for _, w in first.block_windows(1))}


def snap(lines, chunks, distance, output):
    """One index over the lines, a query a chunk."""
    import shapely
    began = time.perf_counter()
    with open(lines) as file:
        lines = np.array([shapely.linestrings(feature["geometry"]["coordinates"]) for feature in json.load(file)["features"]])
    tree = shapely.STRtree(lines)
    prepared = time.perf_counter() - began
    total = 0
    for number, name in enumerate(sorted(glob.glob(f"{chunks}/*"))):
        with open(name) as file:
            document = json.load(file)
        features = document["features"]
        points = shapely.points([feature["geometry"]["coordinates"] for feature in features])
        found, near = tree.query_nearest(points, max_distance=distance, all_matches=False)
        places = shapely.line_interpolate_point(lines[near], shapely.line_locate_point(lines[near], points[found]))
        kept = []
        for index, place in zip(found, shapely.get_coordinates(places)):
            features[index]["geometry"]["coordinates"] = list(place)
            kept.append(features[index])
        document["features"] = kept
        total += len(kept)
        with open(f"{output}.{number}", "w") as file:
            json.dump(document, file, separators=(",", ":"))
    return {"seconds": time.perf_counter() - began, "prepared_s": prepared, "features": total}


def simplify(source, tolerance, output):
    """As a whole: geopandas can do no other. `preserve_topology=False` is Douglas-Peucker, and the quicker one."""
    import geopandas
    began = time.perf_counter()
    features = geopandas.read_file(source)
    features["geometry"] = features.geometry.simplify(tolerance, preserve_topology=False)
    features.to_file(output, driver="GeoJSON")
    return {"seconds": time.perf_counter() - began}


work, *arguments = sys.argv[1:]
print(json.dumps({
    "make_bands": lambda folder, side: make_bands(folder, int(side)),
    "ndwi": ndwi,
    "same_raster": same_raster,
    "simplify": lambda source, tolerance, output: simplify(source, float(tolerance), output),
    "snap": lambda lines, chunks, distance, output: snap(lines, chunks, float(distance), output),
}[work](*arguments)))
