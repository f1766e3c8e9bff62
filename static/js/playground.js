// The playground: files are dropped or pasted, rows of the dataset are one click away, and what was
// tried stays at hand, on this page alone. Without this script the page is a plain form.
(() => {
  "use strict";
  const form = document.querySelector("[data-playground]");
  if (!form) return;
  document.documentElement.classList.add("js");
  const KEPT = 12; // inputs that were tried
  const text = form.querySelector("[data-text]");
  const file = form.elements.file;
  const drop = form.querySelector("[data-drop]");
  const preview = form.querySelector("[data-preview]");
  const recent = form.querySelector("[data-recent]");
  const tried = []; // [{words, again}]
  let shown = "";

  const ask = () => form.requestSubmit(document.getElementById("ask"));
  const show = () => {
    if (!preview) return;
    if (shown) URL.revokeObjectURL(shown);
    shown = "";
    const one = file.files[0];
    preview.replaceChildren();
    preview.hidden = !one;
    if (!one) return;
    shown = URL.createObjectURL(one);
    const element = document.createElement(/^audio/.test(file.accept) ? "audio" : "img");
    if (element.tagName === "AUDIO") { element.controls = true; element.setAttribute("aria-label", one.name); }
    else element.alt = one.name;
    element.src = shown;
    preview.append(element);
  };
  const take = (one) => {
    const moved = new DataTransfer();
    moved.items.add(one);
    file.files = moved.files;
    show();
    ask();
  };
  form.addEventListener("playground:file", (event) => take(event.detail));

  if (drop) {
    const over = (event) => { event.preventDefault(); drop.classList.add("over"); };
    drop.addEventListener("dragenter", over);
    drop.addEventListener("dragover", over);
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
    file.addEventListener("change", () => { show(); if (file.files.length) ask(); });
    document.addEventListener("paste", (event) => {
      const one = [...event.clipboardData.files].find((given) => given.type.startsWith(file.accept.split("/")[0]));
      if (one) { event.preventDefault(); take(one); }
    });
  }
  if (text)
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("[name=text], [name=other]")) {
        event.preventDefault();
        ask();
      }
    });

  const fill = (cells) => {
    for (const [name, value] of Object.entries(cells)) {
      const field = form.elements[`cell:${name}`];
      if (field) field.value = value ?? "";
    }
  };
  form.addEventListener("click", async (event) => {
    const at = event.target.closest(".example");
    if (!at) return;
    if (at.dataset.again) { tried[Number(at.dataset.again)].again(); return; }
    if (at.dataset.exampleText !== undefined) { text.value = at.dataset.exampleText; ask(); }
    else if (at.dataset.exampleCells) { fill(JSON.parse(at.dataset.exampleCells)); ask(); }
    else if (at.dataset.exampleFile) {
      const answer = await fetch(at.dataset.exampleFile, { credentials: "same-origin" });
      if (!answer.ok) return;
      const content = await answer.blob();
      take(new File([content], at.dataset.exampleName, { type: content.type }));
    }
  });

  const now = () => {
    if (text) {
      const words = text.value.trim();
      return words && { words, again: () => { text.value = words; ask(); } };
    }
    if (file) {
      const one = file.files[0];
      return one && { words: one.name, again: () => take(one) };
    }
    const cells = {};
    for (const field of form.elements)
      if (field.name.startsWith("cell:")) cells[field.name.slice(5)] = field.value;
    const words = Object.values(cells).filter(Boolean).join(", ");
    return words && { words, again: () => { fill(cells); ask(); } };
  };
  const remember = () => {
    const one = now();
    if (!one || tried[0]?.words === one.words) return;
    const before = tried.findIndex((other) => other.words === one.words);
    if (before >= 0) tried.splice(before, 1);
    tried.unshift(one);
    tried.length = Math.min(tried.length, KEPT);
    recent.hidden = tried.length < 2;
    recent.querySelector("[data-recent-list]").replaceChildren(
      ...tried.map((each, place) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "example";
        button.dataset.again = place;
        const words = document.createElement("span");
        words.className = "cut";
        words.textContent = each.words.slice(0, 60);
        button.append(words);
        return button;
      }),
    );
  };
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "answers") remember();
  });
  show();
})();
