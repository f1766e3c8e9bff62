// Prints a page as on paper: in the light theme, whichever the reader has.
(() => {
  "use strict";
  const root = document.documentElement;
  let before = null;
  addEventListener("beforeprint", () => {
    before = root.getAttribute("data-bs-theme");
    root.setAttribute("data-bs-theme", "light");
    document.dispatchEvent(new CustomEvent("themechange"));
  });
  addEventListener("afterprint", () => {
    if (before === null) root.removeAttribute("data-bs-theme");
    else root.setAttribute("data-bs-theme", before);
    document.dispatchEvent(new CustomEvent("themechange"));
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-print]")) print();
  });
})();
