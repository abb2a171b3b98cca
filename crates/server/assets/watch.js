// Shows chunks on a map as they come, by server-sent events; without scripts the page is a list of chunks.
"use strict";
(() => {
  // Features that are drawn, the latest ones: more would stall the browser. The numbers go on.
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
    const look = {
      style: (feature) => (feature.properties?.bands === undefined ? line : { ...line, weight: 1, fillOpacity: 0 }),
      pointToLayer: (_feature, at) => L.circleMarker(at, { ...line, radius: 4 }),
      onEachFeature: (feature, layer) => layer.bindPopup(() => shown(feature.properties)),
    };

    const rows = document.getElementById(place.dataset.rows);
    let listed = rows?.rows.length ?? 0;
    let chunks = 0;
    let features = 0;
    let bytes = 0;
    let ended = false;
    let moved = false;
    // When the latest chunks were stored by the server's clock, and how far that is ahead of ours; of other servers' chunks, when they came.
    const times = [];
    let ahead = 0;
    let began;
    const waiting = [];
    let waitingFeatures = 0;
    let fetching = 0;
    // What is on the map: of each chunk its layers, and how many features these are.
    const onMap = [];
    let drawn = 0;
    const seen = L.latLngBounds([]);
    map.on("dragstart zoomstart", (event) => {
      moved ||= event.type === "dragstart" || event.originalEvent !== undefined;
    });
    frame.addEventListener("wheel", () => (moved = true), { passive: true });

    const tell = () => {
      const now = performance.now() + ahead;
      while (times.length > 0 && times[0] < now - RATE_MS) times.shift();
      const over = Math.min(RATE_MS, Math.max(1000, now - began));
      const rate = ended || began === undefined ? "" : `, ${((1000 * times.length) / over).toFixed(1)} a second`;
      const state = !ended ? "more may come" : faults.hidden ? "all there" : "no more will come";
      const many = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;
      const size = bytes > 0 ? ` · ${bytes} bytes` : "";
      const more = features > drawn && features > FEATURES_MAX ? ` (the last ${drawn} are drawn)` : "";
      numbers.textContent = `${many(chunks, "chunk")}${rate} · ${many(features, "feature")}${more}${size} · ${state}`;
      place.dataset.drawn = String(drawn);
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
      return { refusal: problem.detail ?? `${answer.status} ${answer.statusText}`, gone: answer.status === 410 };
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

    const draw = (chunk, all, image) => {
      const layer = L.geoJSON(all.slice(-FEATURES_MAX), look).addTo(map);
      const bounds = layer.getBounds();
      const layers = [layer];
      if (image && bounds.isValid()) layers.push(L.imageOverlay(image, bounds, { alt: `chunk ${chunk.seq}` }).addTo(map));
      onMap.push({ layers, count: layer.getLayers().length });
      drawn += onMap.at(-1).count;
      while (drawn > FEATURES_MAX) {
        const oldest = onMap.shift();
        oldest.layers.forEach((old) => old.remove());
        drawn -= oldest.count;
      }
      if (bounds.isValid()) seen.extend(bounds);
      if (!moved && seen.isValid()) map.fitBounds(seen, { maxZoom: 12, animate: false });
    };

    const show = async (chunk) => {
      const view = (form) =>
        place.dataset.view ? `${place.dataset.view}${encodeURIComponent(chunk.href)}&f=${form}` : `${chunk.href}?f=${form}`;
      const { data, refusal, gone } = await fetchedAtLast(view("geojson"));
      // A stream without end has removed it meanwhile.
      if (gone) return;
      if (refusal !== undefined) throw new Error(refusal);
      const isRaster = data.type === "Feature" && data.properties?.bands !== undefined;
      const all = data.features ?? [data];
      features += all.length;
      draw(chunk, all, isRaster ? view("png") : undefined);
    };

    // Where they come faster than they can be drawn, the oldest would be off the map again at once.
    const wait = (chunk) => {
      waiting.push(chunk);
      waitingFeatures += chunk.count ?? 1;
      while (waitingFeatures > FEATURES_MAX && waiting.length > 1) features += waited().count ?? 1;
    };
    const waited = () => {
      const chunk = waiting.shift();
      waitingFeatures -= chunk.count ?? 1;
      return chunk;
    };

    const next = async () => {
      if (fetching >= FETCHES_MAX || waiting.length === 0) return;
      fetching += 1;
      const chunk = waited();
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
      const stored = Date.parse(chunk.stored);
      if (!Number.isNaN(stored)) ahead = stored - performance.now();
      times.push(performance.now() + ahead);
      began ??= times[0];
      list(chunk);
      wait(chunk);
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
