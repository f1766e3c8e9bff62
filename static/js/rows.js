// Rows are chosen with x, a click, or shift and a click for all between; j, k and u step on the page
// of a row.
(() => {
  "use strict";
  let last = null; // the box that was set before

  const table = () => document.querySelector("[data-rows-table]");
  const boxes = () => [...document.querySelectorAll("[data-choose]")];
  const tell = () => {
    const place = document.querySelector("[data-chosen]");
    if (!place) return;
    const every = document.querySelector("[data-every]");
    const chosen = boxes().filter((box) => box.checked).length;
    place.textContent = every.checked || !chosen ? "" : `${chosen} chosen`;
    const page = document.querySelector("[data-page-all]");
    page.checked = chosen > 0 && chosen === boxes().length;
    page.indeterminate = chosen > 0 && chosen < boxes().length;
  };

  document.addEventListener("click", (event) => {
    const box = event.target.closest("[data-choose]");
    if (!box) return;
    const all = boxes();
    if (event.shiftKey && last && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      for (const one of all.slice(from, to + 1)) one.checked = box.checked;
    }
    last = box;
    tell();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-page-all]")) for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.matches("[data-page-all], [data-every]")) tell();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("textarea, select, dialog[open], input:not([type=checkbox])")) return;
    if (event.key === "x" && table()) {
      const box = document.querySelector("[data-rows] > tr.at [data-choose]");
      if (box) box.click();
    }
    if (!table()) document.querySelector(`[data-step="${CSS.escape(event.key)}"]`)?.click();
  });
  // A condition that is not said whole asks for nothing yet, and what is typed meanwhile stays.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-draft]")) return;
    const { column, test, value } = event.target.form.elements;
    if (!column.value || (test.value !== "missing" && !value.value)) event.stopPropagation();
  }, true);
  document.addEventListener("htmx:afterSettle", tell);
  tell();
})();
