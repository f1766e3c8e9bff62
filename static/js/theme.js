// Light or dark: what the person chose here, else what their system prefers. Loaded before any
// style so that the page never flashes in the wrong one.
(() => {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off: follow the system
    }
  };
  const apply = () => {
    root.dataset.bsTheme = chosen() || (system.matches ? "dark" : "light");
    document.dispatchEvent(new CustomEvent("themechange"));
  };
  const toggle = () => {
    const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
    try {
      // Back to the system's own means no choice, so that it is followed again.
      if (next === (system.matches ? "dark" : "light")) localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch {
      root.dataset.bsTheme = next;
      document.dispatchEvent(new CustomEvent("themechange"));
      return;
    }
    apply();
  };

  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", (event) => event.key === "theme" && apply());
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-toggle]")) toggle();
  });
})();
