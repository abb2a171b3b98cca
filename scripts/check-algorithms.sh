#!/usr/bin/env bash
# Compares the built-in algorithms with those of others on real data: shapely (GEOS), rasterio (GDAL) with numpy, and pyproj, pinned.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/algorithms-venv
pins=(shapely==2.1.2 rasterio==1.4.3 pyproj==3.7.2 numpy==2.4.6)
python3 -c 'import venv, ensurepip' 2>/dev/null || scripts/install-tools.sh venv
command -v gdal_contour >/dev/null || scripts/install-tools.sh run
# The stamp comes last, so that a broken-off installation is not taken for a whole one.
if [ "$(cat "$venv/installed" 2>/dev/null)" != "${pins[*]}" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${pins[@]}"
  echo "${pins[*]}" > "$venv/installed"
fi
# The selection of packages with which the tests are built: another one has other features, and all would be built again.
cargo build --quiet --workspace --features anabranch-server/opentelemetry --example run_algorithm
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
gdal_contour -q -a elevation -i 10 -f GeoJSON examples/data/jacksboro_dem.tif "$folder/contours.geojson"
"$venv/bin/python" scripts/algorithms.py target/debug/examples/run_algorithm "$folder"
