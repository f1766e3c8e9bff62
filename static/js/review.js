// The page of a review: a key or a button decides, the next row is there at once, and what was
// decided is sent behind it. A row that could not be sent comes back, with the reason.
(() => {
  "use strict";
  const box = document.querySelector("[data-review]");
  if (!box) return;
  let since = performance.now(); // when the shown row came up
  const underWay = new Set(); // rows that are decided here, and not there yet
  let sending = Promise.resolve(); // one after the other, so that undo takes back the last one

  const forms = () => [...box.querySelectorAll("form[data-row]")];
  const shown = () => forms().find((form) => !form.hidden);
  const refuse = (sentence) => {
    const note = document.querySelector("[data-refused]");
    note.textContent = sentence;
    note.hidden = !sentence;
  };
  const show = (form) => {
    for (const other of forms()) other.hidden = other !== form;
    since = performance.now();
  };
  // What came from the server: progress always, rows that are not here yet, the end if it is there.
  const arrive = (html, first) => {
    const came = document.createElement("template");
    came.innerHTML = html;
    box.querySelector("[data-review-progress]").replaceWith(came.content.querySelector("[data-review-progress]"));
    box.querySelector("[data-review-end]")?.remove();
    const here = new Set([...underWay, ...forms().map((form) => form.dataset.row)]);
    const rows = [...came.content.querySelectorAll("form[data-row]")].filter((form) => !here.has(form.dataset.row));
    if (first) box.querySelector("[data-review-progress]").after(...rows);
    else box.append(...rows);
    const end = came.content.querySelector("[data-review-end]");
    if (end && !forms().length) box.append(end);
    if (forms().length && (first || !shown())) show(forms()[0]);
  };
  const send = async (body) => {
    const answer = await fetch(box.dataset.address, {
      method: "POST",
      body,
      headers: { "HX-Target": "review" },
      redirect: "manual",
    }).catch(() => null);
    if (answer?.type === "opaqueredirect") {
      window.location.reload(); // closed meanwhile, or signed out
      return null;
    }
    if (answer?.ok) return answer.text();
    const sentence = answer ? (await answer.text()).slice(0, 300) : "The server does not answer; say it again in a moment.";
    throw Object.assign(new Error(sentence), { isOver: answer?.status === 409 || answer?.status === 404 });
  };
  // What is left, after a row that is no longer asked for.
  const look = async () => {
    const answer = await fetch(box.dataset.address, { headers: { "HX-Target": "review" }, redirect: "manual" }).catch(() => null);
    if (answer?.ok) arrive(await answer.text(), false);
    else window.location.reload();
  };
  const decide = (form, button) => {
    const body = new FormData(form, button);
    body.set("seconds", ((performance.now() - since) / 1000).toFixed(2));
    const undo = button.value === "undo";
    refuse("");
    if (!undo && form.dataset.row) {
      form.remove();
      underWay.add(form.dataset.row);
      if (forms().length) show(forms()[0]);
    }
    sending = sending
      .then(() => send(body))
      .then((html) => {
        if (!undo) underWay.delete(form.dataset.row);
        if (html) arrive(html, undo);
      })
      .catch((error) => {
        if (!undo) underWay.delete(form.dataset.row);
        if (error.isOver) look();
        else if (!undo && form.dataset.row) {
          box.querySelector("[data-review-end]")?.remove();
          box.querySelector("[data-review-progress]").after(form);
          show(form);
        }
        refuse(error.message);
      });
  };

  const once = box.hasAttribute("data-once"); // one row that is said anew: sent as any form is

  box.addEventListener("submit", (event) => {
    if (once) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.submitter) decide(event.target, event.submitter);
  });
  box.addEventListener("input", (event) => {
    if (!event.target.matches("[data-find]")) return;
    const sought = event.target.value.trim().toLowerCase();
    for (const button of event.target.form.querySelectorAll("[data-label]"))
      button.hidden = !button.value.toLowerCase().includes(sought);
  });
  document.addEventListener(
    "keydown",
    (event) => {
      const form = shown();
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const at = event.target;
      const done = () => {
        event.preventDefault();
        event.stopPropagation();
      };
      if (at.matches("[data-find], [data-note]")) {
        if (event.key === "Escape") at.blur();
        if (event.key !== "Enter") return;
        done();
        if (at.matches("[data-note]")) at.blur();
        else if (at.value.trim()) at.form.querySelector("[data-label]:not([hidden])")?.click();
        return;
      }
      if (at.closest("input, textarea, select, summary")) return;
      if (event.key === "?") {
        done();
        document.getElementById("review-keys")?.showModal();
        return;
      }
      if (event.repeat) return;
      if (!form) {
        if (event.key === "u") box.querySelector("[data-review-end] button")?.click();
        return;
      }
      if (event.key === "Enter" && at.closest("a, button")) return;
      const seek = { n: "[data-note]", "/": "[data-find], [name=label]:not(button)" }[event.key];
      const found = form.querySelector(seek || `[data-key="${CSS.escape(event.key)}"]`);
      if (!found) return;
      done();
      if (seek) found.focus();
      else found.click();
    },
    true,
  );
})();
