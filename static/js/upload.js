// The upload page: files are dropped or chosen, and sent piece by piece (tus), so that a lost
// connection, a closed page or a restarted server costs nothing that has arrived: dropped again, a
// file goes on where it was. Without this script the page is a plain form with two file fields.
(() => {
  "use strict";
  const form = document.querySelector("[data-upload]");
  if (!form || !window.tus) return;
  document.documentElement.classList.add("js");
  const PIECE = 16 << 20; // bytes of a request: proxies refuse larger bodies
  const HASHED = 256 << 20; // bytes: larger files are not held in memory to be hashed
  const find = (name) => form.querySelector(`[data-upload-${name}]`);
  const input = form.elements.file;
  const drop = find("drop");
  const most = Number(form.dataset.most);
  const files = []; // [{file, role: "data" | "test"}]
  let current = null;
  input.multiple = true;
  input.required = false;
  if (find("second")) find("second").hidden = true;

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
  const part = (tag, name, text) => {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    return element;
  };
  const line = (one) => {
    const row = part("div", "picked-file", "");
    const role = part("select", "form-select form-select-sm role", "");
    role.setAttribute("aria-label", `What ${one.file.name} is`);
    role.append(new Option("data", "data"), new Option("test split", "test"));
    role.value = one.role;
    role.hidden = files.length < 2;
    role.addEventListener("change", () => {
      for (const other of files) if (role.value === "test") other.role = "data";
      one.role = role.value;
      show();
    });
    const away = part("button", "btn btn-sm btn-quiet", "Remove");
    away.type = "button";
    away.setAttribute("aria-label", `Remove ${one.file.name}`);
    away.addEventListener("click", () => { files.splice(files.indexOf(one), 1); show(); });
    row.append(part("span", "row-name cut grow", one.file.name), part("span", "faint small num", size(one.file.size)), role, away);
    return row;
  };
  const show = () => {
    find("picked").replaceChildren(...files.map(line));
    find("picked").hidden = !files.length;
    find("send").disabled = !files.length;
  };
  // Of several files, the only one that is called test is the test file.
  const choose = (chosen) => {
    fail("");
    const limit = Number(form.dataset.mostFiles);
    const large = chosen.find((file) => file.size > most);
    if (large) { fail(`${large.name} has ${size(large.size)}; at most ${size(most)} may be uploaded.`); return; }
    const fresh = chosen.filter((file) => !files.some((one) => one.file.name === file.name && one.file.size === file.size));
    if (files.length + fresh.length > limit) { fail(`At most ${limit} files may be uploaded together.`); return; }
    files.push(...fresh.map((file) => ({ file, role: "data" })));
    const tests = files.filter((one) => /(^|[^a-z])te?st([^a-z]|$)/i.test(one.file.name));
    if (files.length > 1 && tests.length === 1 && !files.some((one) => one.role === "test")) tests[0].role = "test";
    input.value = "";
    show();
  };

  input.addEventListener("change", () => choose([...input.files]));
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", (event) => choose([...event.dataTransfer.files]));

  const digest = async (file) => {
    if (!window.crypto?.subtle || file.size > HASHED) return "";
    const bytes = new Uint8Array(await window.crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
  };
  const sentence = (error) => {
    const answer = error?.originalResponse?.getBody?.();
    try { return JSON.parse(answer).detail; } catch { /* no answer, or an error page */ }
    return "The connection was lost, and could not be had again. What has arrived is kept: send once more to go on.";
  };

  // The id of the finished upload of one file; `told` hears how many of its bytes have arrived.
  const send = async (file, told) => {
    const sha256 = await digest(file);
    return new Promise((done, refuse) => {
      current = new window.tus.Upload(file, {
        endpoint: form.dataset.uploads,
        chunkSize: PIECE,
        retryDelays: [0, 1000, 3000, 5000, 10000, 20000],
        removeFingerprintOnSuccess: true,
        metadata: { filename: file.name, ...(sha256 && { sha256 }) },
        headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
        onProgress: told,
        onShouldRetry: (error) => {
          const status = error.originalResponse?.getStatus() ?? 0;
          if (!status) find("stage").textContent = "The connection is lost; trying again";
          return status === 0 || status === 409 || status === 423 || status === 429 || status === 460 || status >= 500;
        },
        onError: (error) => refuse(new Error(sentence(error))),
        onSuccess: () => done(current.url.replace(/\/$/, "").split("/").pop()),
      });
      current.findPreviousUploads().then((earlier) => {
        if (earlier.length) current.resumeFromPreviousUpload(earlier[0]);
        current.start();
      });
    });
  };

  const meter = find("meter");
  const progress = (share) => {
    meter.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
    meter.firstElementChild.style.width = `${share * 100}%`;
  };
  const sendAll = async () => {
    const whole = files.reduce((sum, one) => sum + one.file.size, 0);
    const body = new FormData();
    body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    for (const field of form.querySelectorAll("[data-upload-told]")) body.set(field.name, field.value);
    let before = 0;
    let began = null; // when, and at how many bytes: what arrived on an earlier day is not today's speed
    for (const one of files) {
      const told = (loaded) => {
        const now = before + loaded;
        began ??= { at: Date.now(), bytes: now };
        const seconds = (Date.now() - began.at) / 1000;
        const left = (seconds / Math.max(1, now - began.bytes)) * (whole - now);
        find("stage").textContent = files.length > 1 ? `Uploading ${one.file.name}` : "Uploading";
        progress(whole ? now / whole : 1);
        find("figures").textContent = `${size(now)} of ${size(whole)}${seconds > 2 && left > 1 ? ` · about ${Math.ceil(left)} s left` : ""}`;
      };
      body.append(one.role === "test" ? "test_upload" : "upload", await send(one.file, told));
      before += one.file.size;
    }
    progress(1);
    find("stage").textContent = "Looking at it";
    find("figures").textContent = "";
    const response = await fetch(form.action, { method: "POST", body, headers: { "X-Requested-With": "XMLHttpRequest" } });
    const answer = await response.json().catch(() => ({}));
    if (response.ok && answer.location) window.location.assign(answer.location);
    else throw new Error(answer.detail || "The upload was refused. Reload the page and try again.");
  };

  const idle = () => {
    delete form.dataset.sending;
    current = null;
    find("progress").hidden = true;
    find("send").disabled = !files.length;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.sending) return;
    if (!files.length) { fail("Choose a file."); return; }
    form.dataset.sending = "yes";
    fail("");
    find("progress").hidden = false;
    find("stage").textContent = "Uploading";
    find("send").disabled = true;
    progress(0);
    sendAll().catch((error) => { idle(); fail(error.message); });
  });
  find("pause").addEventListener("click", () => {
    if (current) current.abort();
    idle();
    fail("Paused. What has arrived is kept for a day: send again to go on, also after this page was closed.");
  });
  window.addEventListener("pageshow", show);
  choose([...input.files]); // what was chosen before this script was there
})();
