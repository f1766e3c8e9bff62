// The map of rows: a click on a point opens its row; a box or a lasso around points chooses rows.
(() => {
  "use strict";
  const MOST_LISTED = 100; // rows that an address can name
  const MODES = [["zoom", "Zoom"], ["select", "Box"], ["lasso", "Lasso"]];

  const choose = (root, rows) => {
    const place = root.querySelector("[data-map-chosen]");
    place.hidden = !rows.length;
    place.querySelector("[data-map-count]").textContent = `${rows.length.toLocaleString("en-US").replace(/,/g, " ")} row${rows.length === 1 ? "" : "s"} chosen`;
    place.querySelector("[data-map-ids]").value = rows.join(",");
    const link = place.querySelector("[data-map-rows]");
    link.hidden = rows.length > MOST_LISTED;
    link.search = new URLSearchParams([["tab", "rows"], ...rows.map((row) => ["row_ids", row])]);
  };

  const modes = (area, tools) => {
    const group = document.createElement("span");
    group.className = "modes";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "What dragging does");
    const buttons = MODES.map(([mode, words]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "log";
      button.textContent = words;
      button.setAttribute("aria-pressed", String(mode === "zoom"));
      button.addEventListener("click", () => {
        area.dataset.drag = mode; // redrawn in another theme, it stays so
        window.Plotly.relayout(area, { dragmode: mode });
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      });
      return button;
    });
    group.append(...buttons);
    tools.append(group);
  };

  const start = (map) => {
    const area = map.querySelector("[data-chart-area]");
    if (map.dataset.started || !area.on) return;
    map.dataset.started = "yes";
    const root = map.closest("#map");
    const address = new URL(map.dataset.rowUrl, window.location.href);
    modes(area, map.querySelector("[data-chart-tools]"));
    area.on("plotly_click", (event) => {
      const [point] = event.points;
      if (point) window.location.href = address.href.replace(/rows\/0\/$/, `rows/${point.customdata}/`);
    });
    area.on("plotly_selected", (event) => choose(root, event ? event.points.map((point) => point.customdata) : []));
    area.on("plotly_deselect", () => choose(root, []));
  };

  // chart.js draws when it is near; then there is something to listen to.
  const look = () => {
    for (const map of document.querySelectorAll("[data-map]")) start(map);
  };
  new MutationObserver(look).observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] });
  look();
})();
