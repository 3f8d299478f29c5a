/* Tables as CSV files, written by the page itself. */
function saveCsv(name, rows) {
  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const blob = new Blob([rows.map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" });
  const link = html("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function csvButton(title, name, rows) {
  return html("button", { type: "button", class: "csv", onclick: () => saveCsv(`${document.body.dataset.run}-${name}.csv`, rows()) }, title);
}
/* The cells of a table: full numbers where the page has them, else the text. */
function cellsOf(table) {
  return [...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent.trim()));
}
