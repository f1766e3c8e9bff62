// / searches, j and k walk the rows of a table, Enter opens, g and a letter goes, ? tells.
(() => {
  "use strict";
  let going = 0; // when g was pressed

  const typing = (element) => element.closest("input, textarea, select, [contenteditable], dialog[open]");
  const rows = () => [...document.querySelectorAll("[data-rows] > tr:not([hidden])")];
  const walk = (by) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains("at"));
    const next = now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + by, 0), all.length - 1);
    all[now]?.classList.remove("at");
    all[next].classList.add("at");
    all[next].querySelector("a")?.focus({ preventScroll: true });
    all[next].scrollIntoView({ block: "nearest" });
  };
  const press = (selector) => {
    const found = document.querySelector(selector);
    found?.click();
    return Boolean(found);
  };
  const keys = {
    "?": () => document.getElementById("shortcuts")?.showModal(),
    "/": () => {
      const box = document.querySelector("[data-search]");
      box?.focus();
      box?.select();
    },
    j: () => walk(1),
    k: () => walk(-1),
    n: () => press("[data-new]"),
    t: () => press("[data-theme-toggle]"),
    g: () => { going = Date.now(); },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target.matches("[data-search]")) event.target.blur();
    if (typing(event.target)) return;
    if (Date.now() - going < 1500 && event.key !== "g") {
      going = 0;
      if (press(`[data-go="${CSS.escape(event.key)}"]`)) event.preventDefault();
      return;
    }
    const action = keys[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
})();
