// The mapping page: a changed control shows the preview again, read as now chosen. Typed words
// (name, description) are only sent with it, not looked at.
(() => {
  "use strict";
  const WAIT = 150; // ms for a second change
  let timer = 0;
  const look = () => {
    const form = document.querySelector("[data-mapping]");
    window.htmx.ajax("POST", form.getAttribute("action"), { source: form, target: form, swap: "outerHTML" });
  };
  document.addEventListener("change", (event) => {
    const form = event.target.closest("[data-mapping]");
    if (!form || event.target.matches("[name=name], [name=description]")) return;
    clearTimeout(timer);
    window.htmx.trigger(form, "htmx:abort"); // an older answer must not undo a newer choice
    form.setAttribute("aria-busy", "true");
    timer = setTimeout(look, WAIT);
  });
})();
