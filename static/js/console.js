// The console of a run: follows its end while live, shows earlier lines, and searches all of it on
// the server. New lines come from live.js as a "lines" event.
(() => {
  "use strict";
  const MOST = 5000; // lines kept on the page; the download has them all
  const PAUSE = 250; // ms after the last key before the server is asked
  const box = document.querySelector("[data-console]");
  if (!box) return;
  const results = document.querySelector("[data-console-results]");
  const found = document.querySelector("[data-console-found]");
  const followButton = document.querySelector("[data-console-follow]");
  const search = document.querySelector("[data-console-search]");
  const earlier = document.querySelector("[data-console-earlier]");
  let follows = true;

  const toEnd = () => { box.scrollTop = box.scrollHeight; };
  const setFollow = (value) => {
    follows = value;
    followButton?.setAttribute("aria-pressed", String(value));
    if (value) toEnd();
  };
  const words = () => search?.value.trim() || "";
  const marked = (plain, wanted) => {
    const at = wanted ? plain.toLowerCase().indexOf(wanted.toLowerCase()) : -1;
    if (at < 0) return [plain];
    const mark = document.createElement("mark");
    mark.textContent = plain.slice(at, at + wanted.length);
    return [plain.slice(0, at), mark, plain.slice(at + wanted.length)];
  };
  const element = ({ time, level, text }, wanted = "") => {
    const line = document.createElement("div");
    const clock = document.createElement("time");
    const said = document.createElement("span");
    line.className = `line level-${/^[a-z]+$/.test(level) ? level : "info"}`;
    clock.textContent = new Date(typeof time === "number" ? time * 1000 : time).toISOString().slice(11, 19);
    said.append(...marked(text, wanted));
    line.append(clock, said);
    return line;
  };
  const ask = async (query) => {
    const address = new URL(search.dataset.consoleSearch, location.href);
    for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
    const response = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  };

  // -- searching: answers come in pieces, each from the cursor of the last; a newer one ends it.
  let turn = 0;
  const look = async () => {
    const mine = ++turn;
    const wanted = words();
    results.hidden = !wanted;
    box.hidden = Boolean(wanted);
    found.textContent = wanted ? "Searching…" : "";
    results.replaceChildren();
    if (!wanted) return;
    let after = 0;
    let count = 0;
    try {
      for (;;) {
        const answer = await ask({ q: wanted, after, limit: 500 });
        if (mine !== turn) return;
        results.append(...answer.lines.map((line) => element(line, wanted)));
        count += answer.lines.length;
        after = answer.cursor;
        found.textContent = `${count}${answer.more && count >= 2000 ? " or more" : ""} found`;
        if (!answer.more || count >= 2000) return;
      }
    } catch {
      if (mine === turn) found.textContent = "The search did not answer.";
    }
  };
  let pause = 0;
  search?.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(look, PAUSE);
  });

  earlier?.addEventListener("click", async () => {
    const first = Number(earlier.dataset.consoleEarlier);
    const after = Math.max(0, first - 1 - 1000);
    earlier.disabled = true;
    try {
      const answer = await ask({ after, limit: Math.max(1, first - 1 - after) });
      const height = box.scrollHeight;
      box.prepend(...answer.lines.filter((line) => line.n < first).map((line) => element(line)));
      box.scrollTop += box.scrollHeight - height;
      earlier.dataset.consoleEarlier = String(after + 1);
      if (after === 0) earlier.closest("p").remove();
    } catch {
      found.textContent = "The server did not answer.";
    }
    earlier.disabled = false;
  });

  followButton?.addEventListener("click", () => setFollow(!follows));
  box.addEventListener("scroll", () => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
    if (followButton && follows !== atEnd) {
      follows = atEnd;
      followButton.setAttribute("aria-pressed", String(atEnd));
    }
  });
  document.addEventListener("lines", (event) => {
    if (!event.detail.length) return;
    box.querySelector("[data-console-empty]")?.remove();
    box.append(...event.detail.map((line) => element(line)));
    const wanted = words();
    if (wanted)
      results.append(...event.detail.filter((line) => line.text.toLowerCase().includes(wanted.toLowerCase())).map((line) => element(line, wanted)));
    while (box.childElementCount > MOST) box.firstElementChild.remove();
    if (follows) toEnd();
  });
  toEnd();
})();
