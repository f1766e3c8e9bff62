// A dropped or chosen folder of a model gives the model its name, when it has none yet.
(() => {
  "use strict";
  document.addEventListener("change", (event) => {
    if (event.target.id !== "id_file" || !event.target.files.length) return;
    const name = document.getElementById("id_name");
    if (!name || name.value) return;
    const stem = event.target.files[0].name.replace(/\.zip$/i, "");
    name.value = stem.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 100);
  });
})();
