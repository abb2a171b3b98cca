// Lets people try the operations of the API definition; without scripts the page shows the same as commands for curl.
"use strict";
(() => {
  // Characters of an answer that are shown: enough to read, too few to stall the browser.
  const SHOWN_CHARACTERS_MAX = 20000;

  const target = (form) => {
    let path = form.dataset.path;
    const query = new URLSearchParams();
    const headers = {};
    for (const field of form.querySelectorAll("[data-in]")) {
      const { name, value, dataset } = field;
      if (dataset.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
      else if (value === "") continue;
      else if (dataset.in === "query") query.append(name, value);
      else if (dataset.in === "header") headers[name] = value;
    }
    const asked = query.toString();
    return { url: form.dataset.base + path + (asked ? `?${asked}` : ""), headers };
  };

  const shown = (text, mediaType) => {
    let pretty = text;
    if (/json/.test(mediaType)) {
      try {
        pretty = JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        // Shown as it came.
      }
    }
    return pretty.length > SHOWN_CHARACTERS_MAX ? pretty.slice(0, SHOWN_CHARACTERS_MAX) + "\n…" : pretty;
  };

  const send = async (form) => {
    const { url, headers } = target(form);
    const body = form.querySelector("textarea");
    const options = { method: form.dataset.method, headers: { Accept: "application/json", ...headers } };
    if (body) {
      options.body = body.value;
      options.headers["Content-Type"] = "application/json";
    }
    const asked = `${options.method} ${url}`;
    try {
      const response = await fetch(url, options);
      const kept = ["content-type", "location", "link", "preference-applied", "retry-after"];
      const lines = kept.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`);
      const text = shown(await response.text(), response.headers.get("content-type") ?? "");
      return `${asked}\n${response.status} ${response.statusText}\n${lines.join("\n")}\n\n${text}`;
    } catch (error) {
      return `${asked}\nno answer: ${error.message}`;
    }
  };

  for (const form of document.querySelectorAll("form.try")) {
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      const answer = form.querySelector("pre");
      button.disabled = true;
      answer.textContent = await send(form);
      answer.hidden = false;
      button.disabled = false;
      answer.focus();
    });
  }
})();
