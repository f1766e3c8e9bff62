// Keeps a live run's page current: asks every two seconds, while somebody looks, for what is new
// since the last answer. A lost connection is said quietly and mended by itself; when the run is
// over, or begins a new attempt, the page is loaded once more, whole.
(() => {
  "use strict";
  const EVERY = 2000; // ms
  const SLOWEST = 15000; // ms between tries while the server is away
  const head = document.querySelector("[data-live-url]");
  if (!head) return;

  const state = {
    since: Number(head.dataset.step),
    after: head.dataset.cursor,
    status: head.dataset.status,
    attempt: head.dataset.attempt,
    whole: !head.dataset.step || head.dataset.step === "0",
    machine: document.querySelector("[data-machine]")?.dataset.machine, // on the tab that shows it
  };
  let wait = EVERY;
  let timer = 0;

  const each = (selector, change) => document.querySelectorAll(selector).forEach(change);
  const show = (answer) => {
    for (const [name, text] of Object.entries(answer.values))
      each(`[data-live="${CSS.escape(name)}"]`, (element) => {
        if (element.textContent !== text) element.textContent = text;
      });
    const percent = Math.floor(answer.fraction * 100);
    each("[data-live-meter]", (meter) => {
      meter.setAttribute("aria-valuenow", String(percent));
      meter.firstElementChild.style.width = `${percent}%`;
    });
    document.dispatchEvent(new CustomEvent("metrics", { detail: { series: answer.series, whole: state.whole } }));
    document.dispatchEvent(new CustomEvent("lines", { detail: answer.lines }));
  };

  const poll = async () => {
    const address = new URL(head.dataset.liveUrl, location.href);
    if (!state.whole) address.searchParams.set("since_step", String(state.since));
    if (state.after) address.searchParams.set("after", state.after);
    if (state.machine !== undefined) address.searchParams.set("machine", state.machine);
    try {
      const response = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10000) });
      if (response.redirected || response.status === 403 || response.status === 404) return location.reload(); // signed out, or gone
      if (!response.ok) throw new Error(String(response.status));
      const answer = await response.json();
      const isNew = head.dataset.known !== undefined && head.dataset.known !== String(answer.known); // a curve that has no chart
      if (isNew || answer.is_final || answer.status !== state.status || String(answer.attempt) !== state.attempt) return location.reload();
      show(answer);
      state.since = answer.step;
      state.after = String(answer.cursor);
      if (state.machine !== undefined) state.machine = String(answer.machine ?? "");
      state.whole = false;
      wait = EVERY;
      each("[data-live-lost]", (note) => { note.hidden = true; });
    } catch {
      wait = Math.min(wait * 1.6, SLOWEST);
      each("[data-live-lost]", (note) => { note.hidden = false; });
    }
    next();
  };
  const next = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(poll, wait);
  };

  document.addEventListener("metrics:thin", () => { state.whole = true; });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) poll();
  });
  next();
})();
