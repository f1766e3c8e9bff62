// Runs side by side: which runs the charts show, one zoom for all of them, and every control kept in
// the page's address, so that a view can be sent or saved.
(() => {
  "use strict";
  const address = () => new URL(window.location.href);
  const look = (change) => document.dispatchEvent(new CustomEvent("charts:look", { detail: change }));

  const keep = (name, value) => {
    const url = address();
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
    window.history.replaceState(null, "", url);
    for (const link of document.querySelectorAll("a[data-keeps]")) {
      const to = new URL(link.href);
      if (value) to.searchParams.set(name, value);
      else to.searchParams.delete(name);
      link.href = to.href;
    }
    for (const field of document.querySelectorAll("[data-save-view] [name=query]")) field.value = url.search.slice(1);
  };

  // Which runs are shown ------------------------------------------------------------------------
  const toggles = () => [...document.querySelectorAll("[data-run-toggle]")];
  const show = (button, on) => {
    button.setAttribute("aria-pressed", String(on));
    button.closest("[data-run]").classList.toggle("is-off", !on);
  };
  const hidden = () => toggles().filter((one) => one.getAttribute("aria-pressed") === "false").map((one) => Number(one.dataset.runToggle));
  const tell = () => {
    const off = hidden();
    keep("hide", off.join(","));
    look({ off: new Set(off) });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-run-toggle]");
    const all = event.target.closest("[data-run-all]");
    if (!button && !all) return;
    if (button) show(button, button.getAttribute("aria-pressed") === "false");
    else for (const one of toggles()) show(one, all.dataset.runAll === "show");
    tell();
  });
  const begin = new Set((address().searchParams.get("hide") || "").split(","));
  const off = toggles().filter((one) => begin.has(one.dataset.runToggle));
  for (const one of off) show(one, false);

  // How the curves are drawn ----------------------------------------------------------------------
  const log = document.querySelector("[data-charts-log]");
  const clip = document.querySelector("[data-charts-clip]");
  const smoothing = document.querySelector("[data-smoothing]");
  const zoom = (address().searchParams.get("zoom") || "").split(",").map(Number);
  look({
    off: new Set(off.map((one) => Number(one.dataset.runToggle))),
    log: Boolean(log?.checked),
    clip: Boolean(clip?.checked),
    range: zoom.length === 2 && zoom.every(Number.isFinite) && zoom[0] < zoom[1] ? zoom : null,
  });
  log?.addEventListener("change", () => {
    keep("log", log.checked ? "yes" : "");
    look({ log: log.checked });
  });
  clip?.addEventListener("change", () => {
    keep("clip", clip.checked ? "yes" : "");
    look({ clip: clip.checked });
  });
  smoothing?.addEventListener("input", () => keep("smooth", Number(smoothing.value) ? smoothing.value : ""));

  // One zoom for all, and points that open their run ----------------------------------------------
  const round = (value) => Number(Number(value).toPrecision(6));
  const start = (chart) => {
    const area = chart.querySelector("[data-chart-area]");
    if (chart.dataset.compared || !area.on) return;
    chart.dataset.compared = "yes";
    const points = chart.closest("[data-run-points]");
    if (points)
      area.on("plotly_click", (event) => {
        const number = event.points[0]?.customdata;
        if (number) window.location.href = `${points.dataset.runPoints}${number}/`;
      });
    if (!chart.closest("[data-linked]")) return;
    area.on("plotly_relayout", (change) => {
      const from = change["xaxis.range[0]"];
      const to = change["xaxis.range[1]"];
      if (from !== undefined && to !== undefined) {
        keep("zoom", `${round(from)},${round(to)}`);
        look({ range: [from, to], from: area });
      } else if (change["xaxis.autorange"]) {
        keep("zoom", "");
        look({ range: null });
      }
    });
    area.on("plotly_doubleclick", () => {
      keep("zoom", "");
      look({ range: null });
    });
  };
  const every = () => document.querySelectorAll("[data-chart]").forEach(start);
  new MutationObserver(every).observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] });
  every();
})();
