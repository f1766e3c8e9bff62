// [data-refresh="5"]: ask htmx for the fragment again every so many seconds, while somebody looks.
(() => {
  "use strict";
  const due = new WeakMap();
  setInterval(() => {
    if (document.hidden) return;
    for (const part of document.querySelectorAll("[data-refresh]")) {
      // Not under somebody's hands: a field being typed in, or a menu being read.
      if (part.querySelector("input:focus, select:focus, details[open]")) continue;
      const now = Date.now();
      const next = due.get(part) ?? now + Number(part.dataset.refresh) * 1000;
      due.set(part, next);
      if (now < next) continue;
      due.delete(part);
      window.htmx.trigger(part, "refresh");
    }
  }, 1000);
})();
