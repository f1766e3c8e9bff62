// What every page does: the navigation on a phone, menus, dialogs, notes that pass.
(() => {
  "use strict";
  const MOMENT = 7000; // ms a good message stays; bad ones stay until dismissed

  const openNavigation = (button, open) => {
    document.getElementById(button.dataset.opens).classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]"))
      if (!menu.contains(except)) menu.open = false;
  };

  document.addEventListener("click", (event) => {
    const at = event.target;
    closeMenus(at);
    const menuButton = document.querySelector("[data-opens]");
    if (menuButton) {
      const side = document.getElementById(menuButton.dataset.opens);
      if (at.closest("[data-opens]")) openNavigation(menuButton, !side.classList.contains("open"));
      else if (!side.contains(at)) openNavigation(menuButton, false);
    }
    const shows = at.closest("[data-shows]");
    if (shows) document.getElementById(shows.dataset.shows).showModal();
    const closes = at.closest("[data-closes]");
    if (closes) document.getElementById(closes.dataset.closes).close();
    if (at.matches("dialog.sheet")) at.close(); // the backdrop
    at.closest("[data-dismiss]")?.closest("[data-toast]").remove();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.menu[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
    const menuButton = document.querySelector("[data-opens][aria-expanded=true]");
    if (menuButton) {
      openNavigation(menuButton, false);
      menuButton.focus();
    }
  });
  // One press is one thing done, however often it is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.matches("[hx-post]")) return;
    if (form.dataset.sent) event.preventDefault();
    else form.dataset.sent = "yes";
    setTimeout(() => delete form.dataset.sent, 4000);
  });
  // A select or search that is a filter sends its form by itself.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
  });
  for (const toast of document.querySelectorAll("[data-toast]"))
    if (!/error|warning/.test(toast.dataset.toast)) setTimeout(() => toast.remove(), MOMENT);

  // On a phone tabs are wider than the page: the current one is in sight.
  for (const tab of document.querySelectorAll(".tabs [aria-current]"))
    tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.offsetWidth) / 2;
})();
