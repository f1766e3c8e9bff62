// Pages of a monitor: a click on a point of a chart opens its window or its row, the picture of a
// row is shown while one points at it, and new windows come in by themselves while somebody looks.
(() => {
  "use strict";
  const EVERY = 5000; // ms
  const SLOWEST = 60000; // ms between tries while the server is away

  // What a point stands for: of a heat map the window of its column, else what it says itself.
  const keyOf = (point, figure) => {
    if (Array.isArray(point.pointNumber)) return figure.layout.meta?.windows?.[point.pointNumber[1]];
    return [point.customdata].flat()[0];
  };
  const addressOf = (root, key) => {
    if (key === undefined || key === null || key === "") return "";
    const windows = root.closest("[data-window-url]");
    if (windows) return windows.dataset.windowUrl.replace(/\/0\/$/, `/${key}/`);
    const rows = root.closest("[data-rows-url]");
    return rows ? `${rows.dataset.rowsUrl}${encodeURIComponent(key)}` : "";
  };

  const picture = (root, point) => {
    const box = root.closest(".foreign-wrap")?.querySelector("[data-picture]");
    const from = point && [point.customdata].flat()[1];
    if (!box) return;
    box.hidden = !from;
    if (!from) return;
    const image = box.querySelector("img");
    if (image.getAttribute("src") !== from) image.src = from;
    box.querySelector("p").textContent = point.hovertext || "";
  };

  const listen = (root) => {
    const area = root.querySelector("[data-chart-area]");
    if (root.dataset.opens || !area.on) return;
    root.dataset.opens = "yes";
    area.on("plotly_click", (event) => {
      const address = event.points[0] && addressOf(root, keyOf(event.points[0], root.figure));
      if (address) window.location.href = address;
    });
    area.on("plotly_hover", (event) => picture(root, event.points[0]));
    area.on("plotly_unhover", () => picture(root, null));
  };
  const look = () => {
    for (const root of document.querySelectorAll("[data-window-url] [data-chart][data-drawn], [data-rows-url] [data-chart][data-drawn]")) listen(root);
  };
  new MutationObserver(look).observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] });
  look();

  // j and k go to the next window and the one before, where a page is of one.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog[open]")) return;
    document.querySelector(`[data-window-step="${CSS.escape(event.key)}"]`)?.click();
  });

  const live = document.querySelector("[data-monitor-live]");
  if (!live) return;
  let wait = EVERY;
  let timer = 0;
  const lost = (is) => { live.querySelector("[data-live-lost]").hidden = !is; };
  const poll = async () => {
    const address = new URL(live.dataset.monitorLive, location.href);
    address.searchParams.set("known", live.dataset.known);
    try {
      const response = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000) });
      if (response.redirected || response.status === 403 || response.status === 404) return location.reload(); // signed out, or gone
      if (!response.ok) throw new Error(String(response.status));
      if (response.status !== 204) {
        const answer = await response.json();
        // The first window, or the first number of a kind, brings charts that are not there yet.
        const missing = Object.keys(answer.figures).some((name) => !document.querySelector(`[data-chart-name="${CSS.escape(name)}"]`));
        if (missing) return location.reload();
        live.dataset.known = answer.mark;
        live.querySelector("[data-monitor-now]").innerHTML = answer.html;
        document.dispatchEvent(new CustomEvent("charts:figures", { detail: answer.figures }));
      }
      wait = EVERY;
      lost(false);
    } catch {
      wait = Math.min(wait * 1.6, SLOWEST);
      lost(true);
    }
    next();
  };
  const next = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(poll, wait);
  };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) poll();
  });
  next();
})();
