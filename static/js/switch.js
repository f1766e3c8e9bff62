// Shows one of several charts at a time: a group [data-switch] holds parts [data-part="name"], and
// gets a button for each. Without this file all are shown, one below the other.
(() => {
  "use strict";
  for (const group of document.querySelectorAll("[data-switch]")) {
    const parts = [...group.querySelectorAll("[data-part]")];
    if (parts.length < 2) continue;
    const bar = document.createElement("div");
    bar.className = "switch";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", group.dataset.switch);
    const show = (chosen) => {
      parts.forEach((part) => { part.hidden = part !== chosen; });
      [...bar.children].forEach((button, place) => button.setAttribute("aria-pressed", String(parts[place] === chosen)));
    };
    for (const part of parts) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = part.dataset.part;
      button.addEventListener("click", () => show(part));
      bar.append(button);
    }
    group.prepend(bar);
    show(parts[0]);
  }
})();
