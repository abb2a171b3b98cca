// Shows chunks on a map as they come, by server-sent events; without scripts the page is a list of chunks.
"use strict";
(() => {
  // Features that are drawn: more would stall the browser. The numbers go on.
  const FEATURES_MAX = 50000;
  // Chunks under way at once: browsers open six connections to a host.
  const FETCHES_MAX = 3;
  // Attempts to fetch a chunk, and the longest and the pause after one that failed, in milliseconds: a connection may break.
  const TRIES_MAX = 3;
  const TRY_MS_MAX = 20000;
  const PAUSE_MS = 500;
  // Rows that are listed.
  const ROWS_MAX = 1000;
  // Time over which the rate is told, in milliseconds.
  const RATE_MS = 10000;

  const element = (name, className, parent) => {
    const made = document.createElement(name);
    made.className = className;
    parent.append(made);
    return made;
  };

  // Our own colours, also in the dark.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const shown = (properties) => {
    const rows = Object.entries(properties ?? {}).slice(0, 20);
    const table = document.createElement("table");
    for (const [name, value] of rows) {
      const row = element("tr", "", table);
      element("th", "", row).textContent = name;
      element("td", "", row).textContent = typeof value === "object" ? JSON.stringify(value) : String(value);
    }
    return table;
  };

  const watch = (place) => {
    place.hidden = false;
    const numbers = element("p", "numbers", place);
    numbers.setAttribute("role", "status");
    const faults = element("p", "error", place);
    faults.hidden = true;
    const frame = element("div", "map", place);
    frame.setAttribute("aria-label", `Map of ${place.dataset.output}`);
    const map = L.map(frame, { renderer: L.canvas({ padding: 0.5 }), worldCopyJump: true }).setView([20, 0], 1);
    map.attributionControl.setPrefix("Leaflet").addAttribution("Land: Natural Earth");
    fetch(place.dataset.land)
      .then((answer) => answer.json())
      .then((land) => {
        const style = { stroke: true, weight: 1, color: colour("--soft"), opacity: 0.6, fillColor: colour("--line"), fillOpacity: 0.7 };
        L.geoJSON(land, { style, interactive: false }).addTo(map).bringToBack();
      });
    new ResizeObserver(() => map.invalidateSize({ pan: false })).observe(frame);
    const line = { weight: 2, color: colour("--river"), fillOpacity: 0.25 };
    const drawn = L.geoJSON(null, {
      style: (feature) => (feature.properties?.bands === undefined ? line : { ...line, weight: 1, fillOpacity: 0 }),
      pointToLayer: (_feature, at) => L.circleMarker(at, { ...line, radius: 4 }),
      onEachFeature: (feature, layer) => layer.bindPopup(() => shown(feature.properties)),
    }).addTo(map);

    const rows = document.getElementById(place.dataset.rows);
    let listed = rows?.rows.length ?? 0;
    let chunks = 0;
    let features = 0;
    let bytes = 0;
    let ended = false;
    let moved = false;
    const times = [];
    const waiting = [];
    let fetching = 0;
    map.on("dragstart zoomstart", (event) => {
      moved ||= event.type === "dragstart" || event.originalEvent !== undefined;
    });
    frame.addEventListener("wheel", () => (moved = true), { passive: true });

    const tell = () => {
      const now = performance.now();
      while (times.length > 0 && times[0] < now - RATE_MS) times.shift();
      const rate = ended ? "" : `, ${(times.length / (Math.min(RATE_MS, now) / 1000)).toFixed(1)} a second`;
      const state = !ended ? "more may come" : faults.hidden ? "all there" : "no more will come";
      const many = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;
      const size = bytes > 0 ? ` · ${bytes} bytes` : "";
      const more = features > FEATURES_MAX ? ` (the first ${FEATURES_MAX} are drawn)` : "";
      numbers.textContent = `${many(chunks, "chunk")}${rate} · ${many(features, "feature")}${more}${size} · ${state}`;
      place.dataset.drawn = String(drawn.getLayers().length);
      place.dataset.chunksSeen = String(chunks);
    };
    const fault = (text) => {
      faults.hidden = false;
      faults.textContent = text;
    };

    const list = (chunk) => {
      if (!rows || chunk.seq <= listed || rows.rows.length >= ROWS_MAX) return;
      listed = chunk.seq;
      const row = rows.insertRow();
      const link = document.createElement("a");
      // Only what a browser opens and never runs.
      if (/^https?:/.test(chunk.href)) link.href = chunk.href;
      link.textContent = String(chunk.seq);
      row.insertCell().append(link);
      row.insertCell().textContent = chunk.type ?? "";
      for (const number of [chunk.count, chunk.bytes]) {
        const cell = row.insertCell();
        cell.className = "number";
        cell.textContent = number ?? "";
      }
      row.insertCell().textContent = chunk.stored?.replace(/\.\d+/, "") ?? "";
    };

    const fetched = async (url) => {
      const answer = await fetch(url, { signal: AbortSignal.timeout(TRY_MS_MAX) });
      if (answer.ok) return { data: await answer.json() };
      const problem = await answer.json().catch(() => ({}));
      return { refusal: problem.detail ?? `${answer.status} ${answer.statusText}` };
    };

    // What a server refuses it refuses again; what the network loses may come the next time.
    const fetchedAtLast = async (url) => {
      for (let tries = 1; ; tries += 1) {
        try {
          return await fetched(url);
        } catch (error) {
          if (tries === TRIES_MAX) throw error;
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
      }
    };

    const show = async (chunk) => {
      const view = (form) =>
        place.dataset.view ? `${place.dataset.view}${encodeURIComponent(chunk.href)}&f=${form}` : `${chunk.href}?f=${form}`;
      const { data, refusal } = await fetchedAtLast(view("geojson"));
      if (refusal !== undefined) throw new Error(refusal);
      const isRaster = data.type === "Feature" && data.properties?.bands !== undefined;
      features += data.features?.length ?? 1;
      if (features > FEATURES_MAX) return;
      drawn.addData(data);
      const corners = isRaster && data.geometry ? L.geoJSON(data).getBounds() : undefined;
      if (corners) L.imageOverlay(view("png"), corners, { alt: `chunk ${chunk.seq}` }).addTo(map);
      const bounds = drawn.getBounds();
      if (!moved && bounds.isValid()) map.fitBounds(bounds, { maxZoom: 12, animate: false });
    };

    const next = async () => {
      if (fetching >= FETCHES_MAX || waiting.length === 0 || features > FEATURES_MAX) return;
      fetching += 1;
      const chunk = waiting.shift();
      try {
        await show(chunk);
      } catch (error) {
        fault(`chunk ${chunk.seq} can't be shown: ${error.message}`);
      }
      fetching -= 1;
      tell();
      next();
    };

    const source = new EventSource(place.dataset.chunks);
    source.addEventListener("chunk", (event) => {
      const chunk = JSON.parse(event.data);
      chunks = chunk.seq;
      bytes += chunk.bytes ?? 0;
      times.push(performance.now());
      list(chunk);
      waiting.push(chunk);
      tell();
      next();
    });
    source.addEventListener("end", (event) => {
      source.close();
      ended = true;
      const end = JSON.parse(event.data);
      if (end.exception) fault(end.exception.detail);
      tell();
    });
    const clock = setInterval(() => (ended ? clearInterval(clock) : tell()), 1000);
    tell();
  };

  document.querySelectorAll(".watch[data-chunks]").forEach(watch);
})();
