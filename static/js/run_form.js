// After a live check the server's sentences go to their fields; the fields themselves stay as they
// are, so that nobody loses what they are typing. And the recipes can be searched.
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

  const find = (input) => {
    const home = input.closest("[data-finds]");
    const wanted = input.value.trim().toLowerCase();
    const fits = (one) => !wanted || one.textContent.toLowerCase().includes(wanted);
    let count = 0;
    for (const group of home.querySelectorAll("[data-found-group]")) {
      const cards = [...group.querySelectorAll("[data-found]")];
      for (const card of cards) card.hidden = !fits(card);
      const seen = cards.filter((card) => !card.hidden).length;
      group.hidden = seen === 0;
      count += seen;
    }
    home.querySelector("[data-found-none]").hidden = count > 0;
  };

  document.addEventListener("htmx:afterSettle", show);
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-find]")) find(event.target);
  });
  // What is searched for is no choice of the form: it must not be sent, nor send it.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-find]")) event.stopPropagation();
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("[data-find]")) event.preventDefault();
  });
})();
