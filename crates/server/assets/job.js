// Moves the progress of a job page by its server-sent events; without scripts the page shows the state at loading.
"use strict";
(() => {
  const page = document.querySelector("[data-events]");
  if (!page) return;
  const byId = (id) => document.getElementById(id);
  const log = byId("log");
  const source = new EventSource(page.dataset.events);
  source.addEventListener("status", (event) => {
    const job = JSON.parse(event.data);
    byId("bar").value = job.progress ?? 0;
    byId("percent").textContent = `${Math.round(job.progress ?? 0)} %`;
    const state = byId("state");
    state.textContent = job.status;
    state.className = `state ${job.status}`;
    byId("message").textContent = job.message ?? "";
    if (["successful", "failed", "dismissed"].includes(job.status)) {
      source.close();
      // The finished page has results and links that this one has not.
      window.location.reload();
    }
  });
  source.addEventListener("log", (event) => {
    log.hidden = false;
    log.append(JSON.parse(event.data).text + "\n");
    log.scrollTop = log.scrollHeight;
  });
  // The page stays, so that the end of the work is seen on it.
  const dismiss = byId("dismiss");
  dismiss?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = dismiss.querySelector("button");
    button.disabled = true;
    button.textContent = "Dismissing …";
    await fetch(page.dataset.job, { method: "DELETE" });
  });
})();
