// What a chart's menu does: its numbers as a table (for who can't see a picture, or wants to read
// it exactly) and as CSV, its picture as PNG and SVG. Charts are drawn by chart.js, which leaves
// each figure, with all its points, at its [data-chart] as `figure`.
(() => {
  "use strict";
  const MOST_ROWS = 60; // of the table; CSV has all
  const MOST_COLUMNS = 30;
  const SCALE = 2; // pixels of a PNG for each of the screen
  const LETTER = 7, LEGEND_ROW = 20; // pixels: of a letter on average, of a row of a legend

  const words = (text) => String(text ?? "").replace(/<br>/g, " ").replace(/<[^>]*>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  const titleOf = (axis, otherwise) => words(axis?.title?.text ?? axis?.title) || otherwise;
  const unitOf = (axis) => (axis?.ticksuffix || "").trim();
  const withUnit = (name, axis) => (unitOf(axis) && !name.includes(unitOf(axis)) ? `${name}, ${unitOf(axis)}` : name);
  const axisOf = (layout, trace, letter) => layout[`${letter}axis${(trace[`${letter}axis`] || letter).slice(1)}`] || {};
  const at = (list, place) => (Array.isArray(list) ? list[place] : undefined);
  const moment = (axis, value) => (axis?.type === "date" && typeof value === "number" ? new Date(value).toISOString() : value);
  const plainValue = (value) => (typeof value === "string" ? words(value) : value);

  // How far an error bar reaches, where there is one.
  const ends = (trace, letter, place) => {
    const bar = trace[`error_${letter}`];
    const value = at(trace[letter], place);
    if (!Array.isArray(bar?.array) || typeof value !== "number") return [];
    const above = at(bar.array, place);
    const below = bar.symmetric === false ? at(bar.arrayminus, place) : above;
    return [value - below, value + above];
  };

  // {columns: [{name, share}], rows}: one row for each place of a shared axis where traces are
  // lines or bars over it, else one for each point.
  const numbers = (figure) => {
    const layout = figure.layout;
    const told = layout.meta?.table; // of a picture whose places are no numbers
    if (told) return { columns: told.columns.map((name) => ({ name: words(name) })), rows: told.rows.map((row) => row.map(plainValue)) };
    const share = (axis) => /%$/.test(axis?.tickformat || "");
    const traces = figure.data.filter((trace) => trace.hoverinfo !== "skip");
    const grids = traces.filter((trace) => Array.isArray(trace.z));
    if (grids.length) return grid(grids[0], layout);
    const lies = (trace) => trace.type === "bar" ? trace.orientation === "h" : axisOf(layout, trace, "y").type === "category";
    const sideways = traces.length > 0 && traces.every(lies);
    const [along, value] = sideways ? ["y", "x"] : ["x", "y"];
    const shared = traces.every((trace) => trace.type === "bar" || sideways || (trace.mode || "lines").includes("lines"));
    const distinct = traces.every((trace) => new Set(trace[along] || []).size === (trace[along] || []).length);
    const key = traces[0] ? axisOf(layout, traces[0], along) : layout.xaxis;
    const measured = traces[0] ? axisOf(layout, traces[0], value) : layout.yaxis;
    const keyName = titleOf(key, along === "x" ? "x" : "name");
    const barred = traces.map((trace) => Array.isArray(trace[`error_${value}`]?.array));
    if (shared && distinct) {
      const columns = [{ name: keyName, share: share(key) }];
      const places = new Map();
      traces.forEach((trace) => (trace[along] || []).forEach((one) => places.has(one) || places.set(one, places.size)));
      let keys = [...places.keys()];
      if (keys.every((one) => typeof one === "number")) keys = keys.sort((one, other) => one - other);
      const rows = new Map(keys.map((one) => [one, [plainValue(moment(key, one))]]));
      traces.forEach((trace, number) => {
        const axis = axisOf(layout, trace, value);
        const name = withUnit(words(trace.name) || titleOf(axis, value), axis);
        columns.push({ name, share: share(axis) });
        if (barred[number]) columns.push({ name: `${name}, low`, share: share(axis) }, { name: `${name}, high`, share: share(axis) });
        (trace[along] || []).forEach((one, place) => {
          const row = rows.get(one);
          while (row.length < columns.length - (barred[number] ? 3 : 1)) row.push(null);
          row.push(at(trace[value], place) ?? null, ...(barred[number] ? ends(trace, value, place) : []));
        });
      });
      return { columns, rows: [...rows.values()] };
    }
    const measure = titleOf(measured, value);
    const names = (trace) => trace.meta?.names || trace.text; // of marks whose names are not all written
    const named = traces.some((trace) => Array.isArray(names(trace)));
    const columns = [{ name: "series" }, { name: withUnit(keyName, key), share: share(key) }, { name: withUnit(measure, measured), share: share(measured) }];
    const bar = barred.some(Boolean);
    if (bar) columns.push({ name: `${measure}, low`, share: share(measured) }, { name: `${measure}, high`, share: share(measured) });
    if (named) columns.push({ name: "name" });
    const more = traces[0]?.meta?.told || []; // what the parts of customdata are
    more.forEach((name) => columns.push({ name: words(name) }));
    const rows = [];
    for (const trace of traces) {
      const count = Math.max(trace.x?.length || 0, trace.y?.length || 0);
      for (let place = 0; place < count; place += 1) {
        const row = [words(trace.name), plainValue(moment(key, at(trace[along], place))), plainValue(at(trace[value], place) ?? null)];
        if (bar) row.push(...[...ends(trace, value, place), null, null].slice(0, 2));
        if (named) row.push(plainValue(at(names(trace), place) ?? ""));
        more.forEach((_, number) => row.push(at(at(trace.customdata, place), number) ?? null));
        rows.push(row);
      }
    }
    return { columns, rows };
  };

  const grid = (trace, layout) => {
    const rows = [];
    trace.z.forEach((line, down) => line.forEach((value, across) => rows.push([
      plainValue(at(trace.y, down) ?? down), plainValue(at(trace.x, across) ?? across), value,
      ...(Array.isArray(trace.customdata) && !Array.isArray(at(at(trace.customdata, down), across)) ? [at(at(trace.customdata, down), across)] : []),
    ])));
    const columns = [{ name: titleOf(layout.yaxis, "row") }, { name: titleOf(layout.xaxis, "column") }, { name: words(trace.colorbar?.title?.text) || "value" }];
    if (rows[0]?.length === 4) columns.push({ name: "count" });
    return { columns, rows };
  };

  // A program that opens CSV must not take a name for a formula.
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const csv = (figure) => {
    const { columns, rows } = numbers(figure);
    return [columns.map((one) => one.name), ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  };

  const shown = (value, share) => {
    if (value === null || value === undefined || value === "") return "–";
    if (typeof value !== "number") return String(value);
    if (share) return `${(value * 100).toFixed(2)} %`;
    return String(Number(value.toPrecision(6)));
  };
  const table = (root) => {
    const place = root.querySelector("[data-chart-table]");
    const { columns, rows } = numbers(root.figure);
    const few = columns.slice(0, MOST_COLUMNS);
    const count = Math.min(rows.length, MOST_ROWS);
    const picked = rows.length <= MOST_ROWS ? rows : Array.from({ length: count }, (_, n) => rows[Math.round((n * (rows.length - 1)) / (count - 1))]);
    const made = document.createElement("table");
    made.className = "table";
    const head = made.createTHead().insertRow();
    for (const [number, column] of few.entries()) {
      const name = document.createElement("th");
      name.scope = "col";
      if (picked.some((row) => typeof row[number] === "number")) name.className = "num";
      name.textContent = column.name;
      head.append(name);
    }
    const body = made.createTBody();
    for (const values of picked) {
      const row = body.insertRow();
      few.forEach((column, number) => {
        const value = shown(values[number], column.share);
        const one = number ? row.insertCell() : row.appendChild(document.createElement("th"));
        if (!number) one.scope = "row";
        if (typeof values[number] === "number") one.className = "num";
        one.textContent = value;
      });
    }
    const notes = (root.figure.layout.annotations || []).map((one) => words(one.text)).filter(Boolean);
    if (rows.length > picked.length) notes.push(`${picked.length} of ${rows.length} rows; the CSV file has all.`);
    if (columns.length > few.length) notes.push(`${few.length} of ${columns.length} columns.`);
    for (const trace of root.figure.data) if (trace.meta?.of > (trace.x?.length || 0)) notes.push(`${words(trace.name)}: ${trace.x.length} points drawn of ${trace.meta.of}.`);
    if (!rows.length) notes.push("Nothing measured.");
    if (notes.length) made.createCaption().textContent = notes.join(" · ");
    place.replaceChildren(made);
  };

  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
  };
  const fileName = (root) => (root.querySelector(".card-title")?.textContent || root.dataset.chartName || "chart").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "chart";

  // How many rows a legend takes: columns as wide as its longest name, where not all fit beside one another.
  const legendRows = (named, room) => {
    const widest = Math.max(...named.map((trace) => words(trace.name).length)) * LETTER + 52;
    return Math.ceil(named.length / Math.max(1, Math.floor(room / widest)));
  };

  // The picture stands alone: with its title, its legend and the page's ground behind it.
  const picture = async (root, format) => {
    const area = root.querySelector("[data-chart-area]");
    const ground = getComputedStyle(root).backgroundColor;
    const title = root.querySelector(".card-title")?.textContent || area.getAttribute("aria-label");
    const layout = JSON.parse(JSON.stringify(area.layout));
    const named = area.data.filter((trace) => trace.name && trace.visible !== false && trace.hoverinfo !== "skip");
    const legend = named.length > 1 && !root.figure.layout.meta?.named;
    const width = Math.max(area.clientWidth, 480);
    // A picture has no fonts of the page: what is measured here must be what is drawn there.
    const font = { ...layout.font, family: "Arial, Helvetica, sans-serif" };
    const rows = legend ? legendRows(named, width - layout.margin.l - layout.margin.r) : 0;
    Object.assign(layout, {
      font,
      paper_bgcolor: ground, plot_bgcolor: ground, showlegend: legend, autosize: false,
      title: { text: title.replace(/&/g, "&amp;").replace(/</g, "&lt;"), x: 0.02, xanchor: "left", y: 1, yref: "container", yanchor: "top", pad: { t: 14 }, font: { ...font, size: 14 } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font, bgcolor: "rgba(0,0,0,0)" },
      margin: { ...layout.margin, t: 44 + rows * LEGEND_ROW },
    });
    const height = area.clientHeight + layout.margin.t;
    const address = await window.Plotly.toImage({ data: area.data, layout }, { format, width, height, scale: format === "png" ? SCALE : 1 });
    const [head, body] = [address.slice(0, address.indexOf(",")), address.slice(address.indexOf(",") + 1)];
    if (!head.includes("base64")) return new Blob([decodeURIComponent(body)], { type: "image/svg+xml" });
    return new Blob([Uint8Array.from(atob(body), (one) => one.charCodeAt(0))], { type: `image/${format}` });
  };

  const refresh = () => {
    for (const place of document.querySelectorAll("[data-chart-table]:not([hidden])")) table(place.closest("[data-chart]"));
  };
  document.addEventListener("charts:changed", refresh);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-chart-as]");
    const root = button?.closest("[data-chart]");
    if (!root?.figure) return;
    const as = button.dataset.chartAs;
    button.closest("details").open = false;
    if (as === "table") {
      const place = root.querySelector("[data-chart-table]");
      place.hidden = !place.hidden;
      button.setAttribute("aria-pressed", String(!place.hidden));
      button.lastChild.textContent = place.hidden ? "Show as a table" : "Hide the table";
      if (place.hidden) return;
      table(root);
      place.focus({ preventScroll: true });
      place.scrollIntoView({ block: "nearest" });
    } else if (as === "csv") save(new Blob(["\ufeff", csv(root.figure)], { type: "text/csv" }), `${fileName(root)}.csv`);
    else save(await picture(root, as), `${fileName(root)}.${as}`);
  });
})();
