// Draws every [data-chart] from the figure in its JSON, in the colours of the reader's theme, and
// again when the theme changes. A live page sends "metrics" events with new points; [data-smoothing]
// smooths the lines that say they may be. Figures come from training/charts/.
(() => {
  "use strict";
  const MOST = 2000; // points of a line kept on the page; beyond, the page asks again for thinned ones
  const FONT = { family: "Inter, system-ui, sans-serif", size: 11 };
  const charts = [];
  let smoothing = Number(document.querySelector("[data-smoothing]")?.value || 0);
  // What a page with controls for all its charts asks of them (compare.js): runs that are not shown,
  // logarithmic axes, stray values cut off, a stretch of the axis along.
  const asked = { off: new Set(), log: false, clip: false, range: null };

  // Custom properties hold light-dark(): only a computed colour is one that Plotly can read.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (property) => {
    probe.style.color = `var(--${property})`;
    return getComputedStyle(probe).color;
  };
  const toneColour = (tone) => colour(tone === "teacher" ? "teacher-line" : tone);
  const faded = (rgb, alpha) => rgb.replace(/rgba?\(([^,]+),([^,]+),([^,)]+).*/, `rgba($1,$2,$3,${alpha})`);

  // A debiased exponential average, as TensorBoard draws it; a break stays a break.
  const smoothed = (values) => {
    let last = 0;
    let seen = 0;
    return values.map((value) => {
      if (value === null || !Number.isFinite(value)) return null;
      last = last * smoothing + (1 - smoothing) * value;
      seen += 1;
      return last / (1 - smoothing ** seen);
    });
  };

  // A line needs two neighbours: of lone points there would be nothing to see.
  const joins = (trace) => trace.y.some((value, place) => place && value !== null && trace.y[place - 1] !== null);

  const traces = (chart) => {
    const drawn = [];
    for (const source of chart.figure.data) {
      const trace = { ...source, visible: !chart.off.has(source.name) && !asked.off.has(source.meta?.run) };
      const meta = source.meta || {};
      if (meta.tone) {
        const own = toneColour(meta.tone);
        if (trace.line) trace.line = { ...trace.line, color: own };
        if (trace.marker) trace.marker = { ...trace.marker, color: own, ...(trace.marker.line?.color && { line: { ...trace.marker.line, color: own } }) };
        if (trace.error_x?.color === source.marker?.color) trace.error_x = { ...trace.error_x, color: own };
        if (trace.error_y?.color === source.marker?.color) trace.error_y = { ...trace.error_y, color: own };
        if (source.type === "bar") trace.marker = { ...trace.marker, color: faded(own, 0.85) };
        if (trace.mode === "lines" && !joins(source)) trace.mode = "lines+markers";
        if (meta.smooth && smoothing > 0) {
          drawn.push({ ...trace, line: { ...trace.line, color: faded(own, 0.22), width: 1 }, marker: { ...trace.marker, color: faded(own, 0.3) }, hoverinfo: "skip", hovertemplate: undefined });
          trace.y = smoothed(source.y);
        }
      }
      if (meta.scale === "heat") {
        const [from, to] = [colour("surface-2"), colour(meta.hue || "student")];
        trace.colorscale = [[0, from], [0.02, faded(to, 0.12)], [1, to]];
      }
      if (meta.scale === "levels") { // of drift: as it was, a notice, serious, critical
        trace.colorscale = [[0, colour("hover")], [0.31, faded(colour("warn"), 0.12)], [0.33, faded(colour("warn"), 0.55)], [0.5, faded(colour("warn"), 0.8)], [0.66, faded(colour("bad"), 0.6)], [1, colour("bad")]];
        trace.colorbar = { ...trace.colorbar, tickfont: { ...FONT, color: colour("ink-2") }, title: { ...trace.colorbar.title, font: { ...FONT, color: colour("ink-2") } } };
      }
      if (meta.scale === "apart") trace.colorscale = [[0, colour("teacher-line")], [0.5, colour("surface-2")], [1, colour("student")]];
      drawn.push(trace);
    }
    return drawn;
  };

  // Below a step of one percent, whole percents would stand twice on one axis.
  const FINE_SHARES = [{ dtickrange: [null, 0.0099], value: ".1%" }];
  const holds = (trace) => ["x", "y", "z"].some((name) => trace[name]?.length);

  // Nine tenths of all values, with some air.
  const middle = (chart) => {
    const shown = chart.figure.data.filter((trace) => !asked.off.has(trace.meta?.run));
    const values = shown.flatMap((trace) => trace.y).filter((value) => Number.isFinite(value) && !(asked.log && value <= 0));
    values.sort((one, other) => one - other);
    const at = (share) => values[Math.round(share * (values.length - 1))];
    const [low, high] = [at(0.05), at(0.95)].map((value) => (asked.log ? Math.log10(value) : value));
    return low < high ? [low - 0.1 * (high - low), high + 0.1 * (high - low)] : null;
  };
  const linked = (chart, wanted) => {
    const y = wanted.yaxis;
    if (asked.log) Object.assign(y, { type: "log", autorangeoptions: undefined });
    const range = asked.clip && middle(chart);
    if (range) y.range = range;
    if (asked.range) wanted.xaxis.range = asked.range;
    // Plotly forgets how far lines reach while an axis has a range, unless they count as new.
    wanted.datarevision = chart.revision;
  };

  const layout = (chart) => {
    const source = chart.figure.layout;
    const [ink, line] = [colour("ink-2"), colour("line")];
    const empty = !chart.figure.data.some(holds); // scales of nothing would be made up
    const axis = (one) => ({
      ...one, ...(empty && { range: [0, 1], showticklabels: false, zeroline: false }),
      ...(one?.tickformat === ".0%" && { tickformatstops: FINE_SHARES }), gridcolor: line, linecolor: line, tickcolor: line, zerolinecolor: line,
      tickfont: { ...FONT, ...one.tickfont, color: ink }, title: { ...one.title, font: { ...FONT, color: ink } },
    });
    const named = (one, change) => {
      const tone = /^tone:(.+)$/.exec(one.name || "")?.[1];
      return tone ? change(one, toneColour(tone), tone) : one;
    };
    const wanted = {
      ...source, autosize: true, font: { ...FONT, color: ink },
      hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line-strong"), font: { ...FONT, size: 12, color: colour("ink") } },
      xaxis: axis(source.xaxis), yaxis: axis(source.yaxis), dragmode: chart.area.dataset.drag || "zoom",
      shapes: (source.shapes || []).map((one) => named(one, (shape, own) => ({ ...shape, line: { ...shape.line, color: own } }))),
      annotations: (source.annotations || []).map((one) =>
        named(one, (note, own, tone) => ({ ...note, font: { ...note.font, color: tone === "teacher" ? colour("teacher") : own }, bgcolor: faded(colour("surface"), 0.8) }))),
      uirevision: chart.revision, // a zoom survives new points
    };
    for (const name of Object.keys(source)) if (/^[xy]axis\d+$/.test(name)) wanted[name] = axis(source[name]);
    if (empty) {
      wanted.shapes = [];
      wanted.annotations = [{ text: "nothing measured", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { ...FONT, size: 12, color: ink } }];
    } else if (chart.root.closest("[data-linked]")) linked(chart, wanted);
    else if (chart.log) wanted.yaxis.type = "log";
    if (wanted.yaxis.type === "log") // where a note stands is told as a power
      wanted.annotations = wanted.annotations.map((one) => (one.yref === "y" && one.y > 0 ? { ...one, y: Math.log10(one.y) } : one));
    return wanted;
  };

  const draw = (chart) => {
    window.Plotly.react(chart.area, traces(chart), layout(chart), { displayModeBar: false, responsive: true, doubleClick: "reset" });
  };

  const legend = (chart) => {
    const place = chart.root.querySelector("[data-chart-legend]");
    if (!place) return;
    const named = chart.figure.layout.meta?.named; // by an axis: a legend would only repeat it
    const drawable = named ? [] : chart.figure.data.filter((trace) => trace.meta?.tone);
    drawable.sort((one, other) => (one.meta.place ?? 0) - (other.meta.place ?? 0));
    place.hidden = !drawable.length;
    place.replaceChildren(...drawable.map((trace) => {
      const button = document.createElement("button");
      const swatch = document.createElement("i");
      const isPoint = trace.mode?.startsWith("markers");
      swatch.className = isPoint ? "swatch-point" : `swatch swatch-${trace.line?.dash === "dot" ? "dot" : "solid"}`;
      if (isPoint) swatch.dataset.symbol = String([trace.marker.symbol || "circle"].flat()[0]).replace("-open", "");
      swatch.style.color = `var(--${trace.meta.tone === "teacher" ? "teacher-line" : trace.meta.tone})`;
      button.type = "button";
      const words = document.createElement("span");
      words.textContent = trace.name.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
      button.append(swatch, words);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const off = !chart.off.delete(trace.name);
        if (off) chart.off.add(trace.name);
        button.setAttribute("aria-pressed", String(!off));
        draw(chart);
      });
      return button;
    }));
    if (chart.figure.layout.meta?.log) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "log";
      button.className = "log";
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", "Logarithmic axis");
      button.addEventListener("click", () => {
        chart.log = !chart.log;
        chart.revision += 1;
        button.setAttribute("aria-pressed", String(chart.log));
        draw(chart);
      });
      (chart.root.querySelector("[data-chart-tools]") || place).append(button);
    }
  };

  // New points go after the old; a step seen before replaces what was there.
  const append = (trace, points) => {
    const places = new Map(trace.x.map((step, place) => [step, place]));
    points.steps.forEach((step, at) => {
      const value = typeof points.values[at] === "number" ? points.values[at] : null;
      if (places.has(step)) trace.y[places.get(step)] = value;
      else if (!trace.x.length || step > trace.x[trace.x.length - 1]) {
        trace.x.push(step);
        trace.y.push(value);
      }
    });
    return trace.x.length <= MOST;
  };

  const start = (root) => {
    const area = root.querySelector("[data-chart-area]");
    const chart = { root, area, figure: JSON.parse(root.querySelector("[data-chart-figure]").content.textContent), off: new Set(), log: false, revision: 1 };
    charts.push(chart);
    root.figure = chart.figure; // for chart_data.js
    legend(chart);
    draw(chart);
    root.dataset.drawn = "yes";
  };

  const startNew = (within) => {
    for (const root of within.querySelectorAll("[data-chart]:not([data-drawn])")) {
      if (root.closest("[data-draw-now]")) { // that is to be printed whole
        start(root);
        continue;
      }
      // Charts below the fold wait until they are near.
      const watch = new IntersectionObserver((seen) => {
        if (!seen.some((one) => one.isIntersecting)) return;
        watch.disconnect();
        if (!root.dataset.drawn) start(root);
      }, { rootMargin: "600px" });
      watch.observe(root);
    }
  };

  startNew(document);
  document.addEventListener("htmx:afterSettle", (event) => startNew(event.target));
  document.addEventListener("themechange", () => charts.forEach(draw));
  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-smoothing]")) return;
    smoothing = Number(event.target.value);
    charts.filter((chart) => chart.figure.data.some((trace) => trace.meta?.smooth)).forEach(draw);
  });
  // `from` is the chart that was zoomed: it has the stretch already.
  document.addEventListener("charts:look", (event) => {
    const { from, ...change } = event.detail;
    Object.assign(asked, change);
    for (const chart of charts.filter((one) => one.area !== from)) {
      if (!("off" in change)) chart.revision += 1;
      draw(chart);
    }
  });
  // Figures by the names of their charts, made anew by the server.
  document.addEventListener("charts:figures", (event) => {
    for (const chart of charts) {
      const figure = event.detail[chart.root.dataset.chartName];
      if (!figure) continue;
      chart.figure = chart.root.figure = figure;
      legend(chart);
      draw(chart);
    }
    document.dispatchEvent(new CustomEvent("charts:changed"));
  });
  document.addEventListener("metrics", (event) => {
    let room = true;
    for (const chart of charts) {
      let changed = false;
      for (const trace of chart.figure.data) {
        const points = event.detail.series[trace.meta?.series];
        if (!points?.steps.length) continue;
        if (event.detail.whole) trace.x.length = trace.y.length = 0;
        room = append(trace, points) && room;
        changed = true;
      }
      if (changed) draw(chart);
    }
    document.dispatchEvent(new CustomEvent("charts:changed"));
    if (!room) document.dispatchEvent(new CustomEvent("metrics:thin"));
  });
})();
