// The console of a run: follows its end while live, searches what is there. New lines come from
// live.js as a "lines" event.
(() => {
  "use strict";
  const MOST = 5000; // lines kept on the page; the download has them all
  const box = document.querySelector("[data-console]");
  if (!box) return;
  const followButton = document.querySelector("[data-console-follow]");
  const search = document.querySelector("[data-console-search]");
  let follows = true;

  const toEnd = () => { box.scrollTop = box.scrollHeight; };
  const setFollow = (value) => {
    follows = value;
    followButton?.setAttribute("aria-pressed", String(value));
    if (value) toEnd();
  };
  const show = (line, words) => {
    const text = line.lastElementChild;
    const plain = text.textContent;
    const at = words ? plain.toLowerCase().indexOf(words) : -1;
    line.hidden = Boolean(words) && at < 0;
    if (at < 0) {
      if (text.firstElementChild) text.textContent = plain;
      return;
    }
    const mark = document.createElement("mark");
    mark.textContent = plain.slice(at, at + words.length);
    text.replaceChildren(plain.slice(0, at), mark, plain.slice(at + words.length));
  };
  const words = () => search?.value.trim().toLowerCase() || "";

  followButton?.addEventListener("click", () => setFollow(!follows));
  box.addEventListener("scroll", () => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
    if (followButton && follows !== atEnd) {
      follows = atEnd;
      followButton.setAttribute("aria-pressed", String(atEnd));
    }
  });
  search?.addEventListener("input", () => {
    for (const line of box.querySelectorAll(".line:not([data-console-empty])")) show(line, words());
  });
  document.addEventListener("lines", (event) => {
    if (!event.detail.length) return;
    box.querySelector("[data-console-empty]")?.remove();
    const more = event.detail.map(({ time, level, text }) => {
      const line = document.createElement("div");
      const clock = document.createElement("time");
      const said = document.createElement("span");
      line.className = `line level-${/^[a-z]+$/.test(level) ? level : "info"}`;
      clock.textContent = new Date(time * 1000).toISOString().slice(11, 19);
      said.textContent = text;
      line.append(clock, said);
      if (words()) show(line, words());
      return line;
    });
    box.append(...more);
    while (box.childElementCount > MOST) box.firstElementChild.remove();
    if (follows) toEnd();
  });
  toEnd();
})();
