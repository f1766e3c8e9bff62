// What people say and hear, on every page: @ offers the members of the project, comments are changed
// where they stand and come while the page is open, a notification that is followed is read, and the
// bell keeps up.
(() => {
  "use strict";
  const MOST = 6; // names that are offered at once
  const token = () => JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"] || "";

  // Asks again and again, while somebody looks: soon after something new, and ever less often after
  // nothing. `ask` tells whether there was something. Answers a way to ask now.
  const keepAsking = (ask, soonest, slowest) => {
    let wait = soonest;
    let timer = 0;
    let busy = false;
    const next = () => {
      clearTimeout(timer);
      if (!document.hidden) timer = setTimeout(look, wait);
    };
    const look = async () => {
      if (busy || document.hidden) return;
      busy = true;
      const isNew = await ask().catch(() => false); // the server is away: a later look tells
      busy = false;
      wait = isNew ? soonest : Math.min(wait * 1.3, slowest);
      next();
    };
    const now = () => {
      wait = soonest;
      clearTimeout(timer);
      look();
    };
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : now()));
    next();
    return now;
  };

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
    const answer = await fetch(bell.dataset.bell, { headers: { Accept: "application/json" } });
    if (!answer.ok || answer.redirected) return false;
    const { unread } = await answer.json();
    const badge = bell.querySelector(".bell-badge");
    const text = unread > 99 ? "99+" : String(unread);
    const isNew = badge.textContent !== text && !(badge.hidden && !unread);
    badge.textContent = text;
    badge.hidden = !unread;
    bell.setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
    return isNew;
  };
  const ring = bell ? keepAsking(keepUp, 10000, 60000) : () => {};

  // What others say meanwhile -------------------------------------------------------------------
  // What is there stays where it is, and so does what is being typed: new comments are added, those
  // that changed are replaced, but for one that is being changed here.
  const takeIn = (there, fresh) => {
    const list = there.querySelector(".said-list");
    const said = [];
    let isWhole = true; // nothing waits until its change here is over
    for (const one of fresh.querySelectorAll(".said")) {
      const old = document.getElementById(one.id);
      if (!old) {
        const after = [...list.children].find((other) => Number(other.id.slice(8)) > Number(one.id.slice(8)));
        list.insertBefore(one, after || null);
        said.push(one);
      } else if (old.dataset.stamp === one.dataset.stamp) continue;
      else if (old.querySelector("form:not([hidden]) textarea")) {
        isWhole = false;
        continue;
      } else old.replaceWith(one);
      window.htmx.process(one);
    }
    list.hidden = !list.children.length;
    if (list.children.length) there.querySelector("[data-nobody]")?.remove();
    there.querySelector("[data-count]").textContent = fresh.querySelector("[data-count]").textContent;
    const names = [...new Set(said.map((one) => one.querySelector("b").textContent))];
    if (names.length) there.querySelector("[data-news]").textContent = `${names.join(" and ")} said something.`;
    said.forEach((one) => one.classList.add("is-new"));
    if (isWhole) there.dataset.tag = fresh.dataset.tag;
    return said.length > 0;
  };
  const listen = async () => {
    const there = document.querySelector("[data-said]");
    if (!there) return false; // it comes with the page, or the page has none
    const answer = await fetch(there.dataset.said, {
      headers: { "HX-Request": "true", "If-None-Match": `"${there.dataset.tag}"` }, cache: "no-store", redirect: "manual",
    });
    if (answer.status !== 200) return false; // 304: nothing is new
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-said]");
    if (!fresh || !there.isConnected) return false; // something was said here meanwhile
    const area = document.activeElement?.matches("textarea") ? document.activeElement : null;
    const top = area?.getBoundingClientRect().top;
    const isNew = takeIn(there, fresh);
    if (area) window.scrollBy({ top: area.getBoundingClientRect().top - top, behavior: "instant" }); // it stays under one's eyes
    if (isNew) ring();
    return isNew;
  };
  if (document.getElementById("comments")) keepAsking(listen, 4000, 30000);
})();
