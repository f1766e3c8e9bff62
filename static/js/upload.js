// The upload page: files are dropped or chosen, one or two of them; the browser sends them itself
// to show how far it is. Without this script the page is a plain form with two file fields.
(() => {
  "use strict";
  const form = document.querySelector("[data-upload]");
  if (!form) return;
  document.documentElement.classList.add("js");
  const find = (name) => form.querySelector(`[data-upload-${name}]`);
  const file = form.elements.file;
  const test = form.elements.test_file;
  const drop = find("drop");
  const most = Number(form.dataset.most);
  file.multiple = true;
  find("second").hidden = true;

  const size = (bytes) => {
    const units = ["B", "kB", "MB", "GB"];
    let at = 0;
    while (bytes >= 1000 && at < 3) { bytes /= 1000; at += 1; }
    return `${at ? bytes.toPrecision(3) : bytes} ${units[at]}`;
  };
  const fail = (sentence) => {
    find("error").hidden = !sentence;
    find("error-text").textContent = sentence;
    if (sentence) find("error").scrollIntoView({ block: "nearest" });
  };
  const only = (input, one) => {
    const files = new DataTransfer();
    if (one) files.items.add(one);
    input.files = files.files;
  };
  const line = (one, role) => {
    const row = document.createElement("div");
    row.className = "picked-file";
    const name = document.createElement("span");
    name.className = "row-name cut grow";
    name.textContent = one.name;
    const bytes = document.createElement("span");
    bytes.className = "faint small num";
    bytes.textContent = size(one.size);
    const what = document.createElement("span");
    what.className = "tag";
    what.textContent = role;
    const away = document.createElement("button");
    away.type = "button";
    away.className = "btn btn-sm btn-quiet";
    away.textContent = "Remove";
    away.setAttribute("aria-label", `Remove ${one.name}`);
    away.addEventListener("click", () => choose([...file.files, ...test.files].filter((other) => other !== one)));
    row.append(name, bytes, what, away);
    return row;
  };
  const show = () => {
    const picked = find("picked");
    const [main, second] = [file.files[0], test.files[0]];
    picked.replaceChildren(...[main && line(main, second ? "train" : "data"), second && line(second, "test")].filter(Boolean));
    picked.hidden = !main;
    find("send").disabled = !main;
  };
  // Of two files, the one that is called test is the test file; else the second.
  const choose = (files) => {
    fail("");
    if (files.length > 2) fail("Drop at most two files: one, or one for training and one for testing.");
    const large = files.find((one) => one.size > most);
    if (large) { fail(`${large.name} has ${size(large.size)}; at most ${size(most)} may be uploaded.`); files = []; }
    files = files.slice(0, 2);
    if (files.length === 2 && /test/i.test(files[0].name) && !/test/i.test(files[1].name)) files.reverse();
    only(file, files[0]);
    only(test, files[1]);
    show();
  };

  file.addEventListener("change", () => choose([...file.files]));
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", (event) => choose([...event.dataTransfer.files]));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.sending) return;
    if (!file.files.length) { fail("Choose a file."); return; }
    form.dataset.sending = "yes";
    fail("");
    const request = new XMLHttpRequest();
    const began = Date.now();
    const stop = (sentence) => {
      delete form.dataset.sending;
      find("progress").hidden = true;
      find("send").disabled = false;
      fail(sentence);
    };
    const meter = find("meter");
    const progress = (share) => {
      meter.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
      meter.firstElementChild.style.width = `${share * 100}%`;
    };
    request.upload.addEventListener("progress", (now) => {
      if (!now.lengthComputable) return;
      const seconds = (Date.now() - began) / 1000;
      const left = (seconds / now.loaded) * (now.total - now.loaded);
      progress(now.loaded / now.total);
      find("figures").textContent = `${size(now.loaded)} of ${size(now.total)}${seconds > 2 && left > 1 ? ` · about ${Math.ceil(left)} s left` : ""}`;
    });
    request.upload.addEventListener("load", () => {
      progress(1);
      find("stage").textContent = "Looking at it";
      find("figures").textContent = "";
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* an error page, not JSON */ }
      if (request.status === 200 && answer.location) window.location.assign(answer.location);
      else stop(answer.detail || (request.status === 413 ? "This is larger than may be uploaded." : "The upload was refused. Reload the page and try again."));
    });
    request.addEventListener("error", () => stop("The connection was lost. Try again."));
    request.open("POST", form.action);
    request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    find("progress").hidden = false;
    find("stage").textContent = "Uploading";
    find("send").disabled = true;
    progress(0);
    request.send(new FormData(form));
  });
  window.addEventListener("pageshow", show);
  show();
})();
