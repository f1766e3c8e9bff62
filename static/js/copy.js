// [data-copy="text"] or [data-copy-from="#id"]: put it on the clipboard, and say so.
(() => {
  "use strict";
  const put = async (text) => {
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // plain http on another machine
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const text = button.dataset.copy ?? document.querySelector(button.dataset.copyFrom).textContent;
    await put(text);
    const use = button.querySelector("use");
    const before = use?.getAttribute("href");
    if (use) use.setAttribute("href", before.replace(/#.*/, "#check"));
    button.classList.add("done");
    const said = document.getElementById("toasts");
    const note = Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: "Copied" });
    said?.append(note);
    setTimeout(() => {
      if (use) use.setAttribute("href", before);
      button.classList.remove("done");
      note.remove();
    }, 1500);
  });
})();
