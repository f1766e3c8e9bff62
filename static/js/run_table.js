// Runs are chosen with their boxes, with x, or with shift and a click for all between, on as many pages
// as one likes; c compares them. What is chosen stays so while the table refreshes itself.
(() => {
  "use strict";
  const store = `chosen:${window.location.pathname}`;
  const chosen = new Set(JSON.parse(window.sessionStorage.getItem(store) || "[]"));
  let last = null; // the box that was set before

  const boxes = () => [...document.querySelectorAll("[data-choose-run]")];
  const tell = () => {
    for (const box of boxes()) box.checked = chosen.has(box.value);
    const count = document.querySelector("[data-chosen-count]");
    if (count) count.textContent = chosen.size ? ` ${chosen.size}` : "";
    const none = document.querySelector("[data-choose-none]");
    if (none) none.hidden = !chosen.size;
    const change = document.querySelector("[data-change-runs]");
    if (change) change.hidden = !chosen.size;
    window.sessionStorage.setItem(store, JSON.stringify([...chosen]));
  };
  const set = (box, on) => (on ? chosen.add(box.value) : chosen.delete(box.value));
  const compare = (form) => {
    if (!chosen.size) return;
    const numbers = [...chosen].map(Number).sort((one, other) => one - other);
    window.location.href = `${form.action}?runs=${numbers.join(",")}`;
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-choose-none]")) {
      chosen.clear();
      tell();
      return;
    }
    const box = event.target.closest("[data-choose-run]");
    if (!box) return;
    const all = boxes();
    const before = all.findIndex((one) => one.value === last);
    if (event.shiftKey && before >= 0) {
      const [from, to] = [before, all.indexOf(box)].sort((one, other) => one - other);
      for (const one of all.slice(from, to + 1)) set(one, box.checked);
    } else set(box, box.checked);
    last = box.value;
    if (event.detail) box.blur(); // of a pointer: a field with the focus would hold up the refresh
    tell();
  });
  document.addEventListener("submit", (event) => {
    const pressed = event.submitter;
    if (event.target.matches("[data-change-runs]")) {
      if (pressed?.dataset.asks && !window.confirm(`${pressed.dataset.asks} (${chosen.size})`)) {
        event.preventDefault();
        delete event.target.dataset.sent; // it may be pressed again
        return;
      }
      event.target.elements.runs.value = [...chosen].join(",");
      event.target.elements.back.value = window.location.search.slice(1);
      if ("value" in (pressed?.dataset || {})) event.target.elements.value.value = pressed.dataset.value;
      if (/archive|restore|delete/.test(pressed?.value)) window.sessionStorage.removeItem(store); // gone from here
    }
    if (event.target.matches("[data-chosen-runs]")) {
      event.preventDefault();
      compare(event.target);
    }
    const query = event.target.matches("[data-save-view]") && event.target.querySelector("[name=query]");
    if (query) query.value = window.location.search.slice(1);
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("textarea, select, dialog[open], input:not([type=checkbox])")) return;
    if (event.key === "x") document.querySelector("[data-rows] > tr.at [data-choose-run]")?.click();
    if (event.key === "c") compare(document.querySelector("[data-chosen-runs]"));
  });
  document.addEventListener("htmx:afterSettle", tell);
  tell();
})();
