// After a live check the server's sentences go to their fields; the fields themselves stay as they
// are, so that nobody loses what they are typing.
(() => {
  "use strict";

  const show = () => {
    const told = document.querySelector("[data-faults]");
    if (!told) return;
    const faults = JSON.parse(told.dataset.faults);
    for (const slot of document.querySelectorAll("[data-fault]")) {
      const sentences = faults[slot.dataset.fault] || [];
      slot.textContent = sentences.join(" ");
      slot.hidden = sentences.length === 0;
      const control = slot.closest(".field")?.querySelector(".form-control, .form-select");
      if (!control) continue;
      control.classList.toggle("is-invalid", sentences.length > 0);
      if (sentences.length) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    }
  };

  document.addEventListener("htmx:afterSettle", show);
})();
