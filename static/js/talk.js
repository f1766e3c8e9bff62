// What people say and hear, on every page: @ offers the members of the project, comments are changed
// where they stand, a notification that is followed is read, and the bell keeps up.
(() => {
  "use strict";
  const MINUTE = 60000;
  const MOST = 6; // names that are offered at once
  const token = () => JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"] || "";

  // Comments ------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const edits = event.target.closest("[data-edits]");
    if (!edits) return;
    const form = document.getElementById(edits.dataset.edits);
    form.hidden = !form.hidden;
    form.parentElement.querySelector(".said-text").hidden = !form.hidden;
    edits.closest("details")?.removeAttribute("open");
    if (!form.hidden) form.querySelector("textarea").focus();
    else form.reset();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("[data-mentions]"))
      event.target.form.requestSubmit();
  });
  // What an address points at comes with the conversation, after the page.
  document.addEventListener("htmx:afterSettle", () => {
    const wanted = /^#comment-\d+$/.test(window.location.hash) && document.querySelector(window.location.hash);
    if (wanted && !wanted.dataset.shown) {
      wanted.dataset.shown = "yes";
      wanted.classList.add("is-meant");
      wanted.scrollIntoView({ block: "center" });
    }
  });

  // Mentions ------------------------------------------------------------------------------------
  const people = new Map(); // by address: a promise of [{username, name}]
  const members = (address) => {
    if (!people.has(address))
      people.set(address, fetch(`${address}?limit=1000`, { headers: { Accept: "application/json" } })
        .then((answer) => (answer.ok ? answer.json() : { results: [] }))
        .then((found) => found.results.map((one) => ({ username: one.username, name: one.name || "" })))
        .catch(() => []));
    return people.get(address);
  };
  let offer = null; // {box, area, from, at}
  const close = () => {
    if (!offer) return;
    offer.box.remove();
    for (const name of ["aria-controls", "aria-activedescendant", "aria-autocomplete"])
      offer.area.removeAttribute(name);
    offer = null;
  };
  const point = (at) => {
    const all = [...offer.box.children];
    offer.at = (at + all.length) % all.length;
    all.forEach((one, place) => one.setAttribute("aria-selected", String(place === offer.at)));
    offer.area.setAttribute("aria-activedescendant", all[offer.at].id);
  };
  const take = (username) => {
    const { area, from } = offer;
    area.setRangeText(`@${username} `, from, area.selectionStart, "end");
    close();
    area.focus();
  };
  const look = async (area) => {
    const before = area.value.slice(0, area.selectionStart);
    const typed = /(^|[^\w@/.+-])@([\w.+-]*)$/u.exec(before);
    if (!typed) return close();
    const known = await members(area.closest("[data-people]").dataset.people);
    if (area.value.slice(0, area.selectionStart) !== before) return; // typed on meanwhile
    const sought = typed[2].toLowerCase();
    const found = known.filter((one) =>
      one.username.toLowerCase().startsWith(sought) || one.name.toLowerCase().split(" ").some((word) => word.startsWith(sought)));
    close();
    if (!found.length) return;
    const box = document.createElement("ul");
    box.className = "mention-box";
    box.id = "mention-box";
    box.setAttribute("role", "listbox");
    box.setAttribute("aria-label", "Members");
    found.slice(0, MOST).forEach((one, place) => {
      const line = document.createElement("li");
      line.id = `mention-${place}`;
      line.setAttribute("role", "option");
      const name = document.createElement("b");
      name.textContent = one.username;
      line.append(name, one.name && one.name !== one.username ? ` ${one.name}` : "");
      line.addEventListener("mousedown", (event) => {
        event.preventDefault(); // the text keeps the focus
        take(one.username);
      });
      box.append(line);
    });
    area.after(box);
    area.setAttribute("aria-autocomplete", "list");
    area.setAttribute("aria-controls", box.id);
    offer = { box, area, from: before.length - typed[2].length - 1, at: 0 };
    point(0);
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-mentions]")) look(event.target);
  });
  document.addEventListener("focusout", (event) => {
    if (offer && event.target === offer.area) close();
  });
  document.addEventListener("keydown", (event) => {
    if (!offer || event.target !== offer.area) return;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) point(offer.at + moves[event.key]);
    else if (event.key === "Enter" || event.key === "Tab") take(offer.box.children[offer.at].querySelector("b").textContent);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  // Notifications -------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const reads = event.target.closest("[data-reads]");
    if (!reads) return;
    const body = new URLSearchParams({ ids: reads.dataset.reads });
    fetch("/notifications/read/", { method: "POST", body, keepalive: true, redirect: "manual", headers: { "X-CSRFToken": token() } });
  });
  const bell = document.querySelector("[data-bell]");
  const keepUp = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(bell.dataset.bell, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) return;
      const { unread } = await answer.json();
      const badge = bell.querySelector(".bell-badge");
      badge.textContent = unread > 99 ? "99+" : unread;
      badge.hidden = !unread;
      bell.setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
    } catch { /* the server is away: the next minute tells */ }
  };
  if (bell) {
    setInterval(keepUp, MINUTE);
    document.addEventListener("visibilitychange", keepUp);
  }
})();
