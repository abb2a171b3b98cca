#!/usr/bin/env bash
# The main job on real input: a GDAL tool on an agent, run through WPS 1.0.0 and OGC API - Processes, its result checked.
# Keeps serving until Ctrl-C; with CI=true it ends after the checks.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh run
profile=${PROFILE:-release}
cargo build --profile "$profile" --bin anabranch

bin=target/$profile/anabranch
work=$(mktemp -d "${TMPDIR:-/tmp}/anabranch-run.XXXXXX")
server_pid= agent_pid=
stop() {
  # By pid, the agent first: it tells the server that it leaves.
  for pid in $agent_pid $server_pid; do kill "$pid" 2>/dev/null || true; done
  for pid in $agent_pid $server_pid; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "$what: not within the time" >&2; cat "$work"/*.log >&2; exit 1
    fi
    sleep 0.1
  done
}

# A person finds the server where the README says; CI takes free ports.
listen=${ANABRANCH_LISTEN:-127.0.0.1:8080}
if [ "${CI:-}" = true ]; then listen=127.0.0.1:0; fi
"$bin" serve --data "$work/data" --listen "$listen" --xmpp-listen 127.0.0.1:0 --xmpp-tls-listen 127.0.0.1:0 \
  >"$work/server.out" 2>"$work/server.log" &
server_pid=$!
wait_for 20 "the server" grep -q '^listening on ' "$work/server.out"
url=$(sed -n 's/^listening on //p' "$work/server.out")
"$bin" agent --data "$work/data" --services examples/gdal-contour --name "$(uname -n)" >"$work/agent.out" 2>"$work/agent.log" &
agent_pid=$!
wait_for 20 "the agent" curl -sf "$url/processes/default:GdalContour"
echo "server at $url, agent $(uname -n) offers default:GdalContour"

# check FILE INTERVAL: prints the number of contours; every elevation must be a multiple of the interval.
check() {
  python3 - "$1" "$2" <<'PYTHON'
import json, sys
features = json.load(open(sys.argv[1]))["features"]
interval = float(sys.argv[2])
elevations = [feature["properties"]["elev"] for feature in features]
assert len(features) > 10, f"only {len(features)} contours"
wrong = [e for e in elevations if e % interval]
assert not wrong, f"elevations that are no multiple of {interval}: {wrong[:5]}"
print(f"  {len(features)} contours from {min(elevations):g} to {max(elevations):g} m, all multiples of {interval:g} m")
PYTHON
}

echo "OGC API - Processes, the example's DEM, interval 100 m:"
curl -sf "$url/processes/default:GdalContour/execution" -H 'Content-Type: application/json' \
  -d '{"inputs": {"interval": 100}, "outputs": {"contours": {}}, "response": "raw"}' -o "$work/ogcapi.geojson"
check "$work/ogcapi.geojson" 100

echo "WPS 1.0.0 by KVP, interval 50 m:"
curl -sf "$url/wps?service=WPS&version=1.0.0&request=Execute&identifier=default:GdalContour&DataInputs=interval=50&RawDataOutput=contours" \
  -o "$work/wps.geojson"
check "$work/wps.geojson" 50

echo "anabranch run with a DEM uploaded, interval 200 m:"
"$bin" run default:GdalContour -i interval=200 -i dem=@examples/data/jacksboro_dem.tif -o contours="$work/run.geojson" --server "$url"
check "$work/run.geojson" 200

"$bin" agents --server "$url"
"$bin" jobs --server "$url"
if [ "${CI:-}" = true ]; then exit 0; fi
cat <<END

Look at     $url/            the service
            $url/processes/default:GdalContour
            $url/jobs        what has just run
            $url/console     the agent and its load
Serving until Ctrl-C.
END
trap 'exit 0' INT TERM
wait "$server_pid"
