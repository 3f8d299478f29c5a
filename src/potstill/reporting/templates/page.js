/* Draws every section of the page and sets up the theme button. */
function theme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const storage = { get: () => { try { return localStorage.getItem("potstill-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("potstill-theme", value); } catch { /* a page opened from a file may have no storage */ } } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  const saved = storage.get();
  if (saved === "dark" || saved === "light") root.dataset.theme = saved;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; storage.set(root.dataset.theme); label(); });
  system.addEventListener("change", label);
  button.hidden = false;
  label();
}

/* Every table of results that the page holds can be saved. */
function offerTables() {
  for (const table of document.querySelectorAll("table[data-csv]"))
    table.closest(".scroll").after(csvButton("Download CSV", table.dataset.csv, () => cellsOf(table)));
}

theme();
offerTables();
for (const [id, draw] of Object.entries(DRAW)) {
  const host = document.getElementById(id);
  if (host) draw(host);
}
