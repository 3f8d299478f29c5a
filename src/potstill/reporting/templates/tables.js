/* Sortable tables: one metric over all data sets, or every metric of one data set. */
DRAW.tables = (host) => {
  const { metrics, datasets, models } = DATA.tables, out = host.querySelector(".out"), controls = host.querySelector(".controls");
  const scales = Object.entries(DATA.tables.scales);
  const views = [
    ...(datasets.length > 1 ? metrics.map((m) => [`metric ${m.key}`, `${m.label}, all data sets`]) : []),
    ...datasets.map((d) => [`dataset ${d}`, datasets.length > 1 ? `${d}, all metrics` : d]),
  ];
  let view = views[0][0], scale = scales.some(([key]) => key === "_rel_naive") ? "_rel_naive" : "";
  const show = () => {
    const [kind, name] = [view.slice(0, view.indexOf(" ")), view.slice(view.indexOf(" ") + 1)];
    out.replaceChildren(kind === "metric" ? byMetric(metrics.find((m) => m.key === name), scale)
      : byDataset(name, metrics.filter((m) => m.scales.includes(scale)), models, scale));
  };
  if (views.length > 1) controls.append(picker("Show", views, (value) => { view = value; show(); }));
  if (scales.length > 1) controls.append(picker("Scale", scales, (value) => { scale = value; show(); }, scale));
  controls.append(csvButton("All metrics (CSV)", "metrics", everyMetric));
  host.append(html("p", { class: "note" }, "The dot marks the best value: the lowest, for coverage the closest to 80 %, for bias the closest to 0. Click a heading to sort."));
  show();
};

const figureOf = (model, dataset, metric, scale) => {
  const of = DATA.tables.values[model][dataset];
  return of ? of[metric.key + scale] : undefined;
};
function badness(metric, scale) {
  if (metric.key === "bias") return (v) => Math.abs(v);
  if (metric.key.startsWith("coverage_") && !scale) { const aim = Number(metric.key.slice(9)) / 100; return (v) => Math.abs(v - aim); }
  return (v) => v;
}
function bestOf(values, bad) {
  const known = values.filter((v) => v !== undefined).map(bad);
  return known.length > 1 ? Math.min(...known) : NaN;
}

/* One row for each data set and model, with all metrics. */
function everyMetric() {
  const { metrics, datasets, models } = DATA.tables;
  const keys = metrics.flatMap((m) => m.scales.map((s) => m.key + s));
  return [["dataset", "model", ...keys], ...datasets.flatMap((d) => models.map((m) => [d, m, ...keys.map((k) => (DATA.tables.values[m][d] || {})[k])]))];
}

const cell = (value, scale, best) => ({ value, best, text: scale && value < 10 ? value.toFixed(3) : compact(value) });

function byMetric(metric, asked) {
  const { datasets, models } = DATA.tables, scale = metric.scales.includes(asked) ? asked : "", bad = badness(metric, scale);
  const rows = datasets.map((dataset) => {
    const values = models.map((m) => figureOf(m, dataset, metric, scale)), best = bestOf(values, bad);
    return { name: dataset, cells: values.map((v) => cell(v, scale, v !== undefined && bad(v) === best)) };
  });
  return sortable("Data set", models.map(nameOf), rows);
}

function byDataset(dataset, metrics, models, scale) {
  const bests = metrics.map((m) => bestOf(models.map((model) => figureOf(model, dataset, m, scale)), badness(m, scale)));
  const rows = models.map((model) => ({
    name: nameOf(model), look: lookOf(model),
    cells: metrics.map((m, i) => {
      const value = figureOf(model, dataset, m, scale);
      return cell(value, scale, value !== undefined && badness(m, scale)(value) === bests[i]);
    }),
  }));
  return sortable("Model", metrics.map((m) => m.label), rows.filter((r) => r.cells.some((c) => c.value !== undefined)));
}

function sortable(corner, titles, rows) {
  const body = html("tbody"), heads = [];
  let column = null, up = true;
  const fill = () => body.replaceChildren(...rows.map((row) => html("tr", {},
    html("th", { scope: "row" }, ...(row.look ? [swatch(row.look)] : []), row.name),
    ...row.cells.map((c) => html("td", { class: c.best ? "n best" : "n" }, c.text)))));
  const sort = (index) => {
    up = column === index ? !up : true;
    column = index;
    const key = (row) => (index < 0 ? row.name : row.cells[index].value);
    rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
    });
    heads.forEach((head, i) => { if (i - 1 === index) head.setAttribute("aria-sort", up ? "ascending" : "descending"); else head.removeAttribute("aria-sort"); });
    fill();
  };
  [corner, ...titles].forEach((title, i) => heads.push(html("th", { scope: "col", class: i ? "n" : "" }, html("button", { type: "button", onclick: () => sort(i - 1) }, title))));
  fill();
  return html("div", { class: "scroll", tabindex: 0 }, html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body));
}
