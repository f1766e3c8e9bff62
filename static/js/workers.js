// The page Workers while something runs: one request in five seconds, while somebody looks, for what
// changed. When nothing runs any more it rests; coming back to the page asks once.
(() => {
  "use strict";
  const EVERY = 5000; // ms
  const SLOWEST = 60000; // ms between tries while the server is away
  const root = document.querySelector("[data-workers]");
  if (!root) return;
  const parts = () => [...root.querySelectorAll("[data-worker]")];
  const state = { since: root.dataset.since, busy: "busy" in root.dataset, whole: false };
  let wait = EVERY;
  let timer = 0;

  // Not under somebody's hands: an open question, or a button that has the focus.
  const put = (part, html) => {
    if (part.innerHTML === html || part.querySelector("dialog[open]") || part.contains(document.activeElement)) return;
    part.innerHTML = html;
  };
  const show = (answer) => {
    if (parts().length !== Object.keys(answer.workers).length || parts().some((part) => !(part.dataset.worker in answer.workers)))
      return location.reload(); // a worker came or went
    for (const part of parts()) put(part, answer.workers[part.dataset.worker]);
    put(root.querySelector("[data-queues]"), answer.queues);
    document.dispatchEvent(new CustomEvent("metrics", { detail: { series: answer.series, whole: state.whole } }));
    state.whole = false;
    state.since = String(answer.since || state.since);
    state.busy = answer.busy;
  };
  const poll = async () => {
    clearTimeout(timer);
    const address = new URL(root.dataset.workers, location.href);
    if (!state.whole) address.searchParams.set("since", state.since);
    try {
      const response = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10000) });
      if (response.redirected || response.status === 403) return location.reload(); // signed out
      if (!response.ok) throw new Error(String(response.status));
      show(await response.json());
      wait = EVERY;
      root.querySelector("[data-live-lost]").hidden = true;
    } catch {
      wait = Math.min(wait * 1.6, SLOWEST);
      root.querySelector("[data-live-lost]").hidden = false;
    }
    next();
  };
  const next = () => {
    clearTimeout(timer);
    if (state.busy && !document.hidden) timer = setTimeout(poll, wait);
  };

  document.addEventListener("metrics:thin", () => { state.whole = true; });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) poll();
  });
  next();
})();
