/* Error by step ahead, and calibration: how often the true value is below each forecast quantile. */
const ALL = "all data sets";

function meanOf(lists) {
  return lists[0].map((_, i) => {
    const known = lists.map((list) => list[i]).filter((v) => v !== null && v !== undefined);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  });
}
/* [model, values] of one data set, or of the mean over all of them. */
function profileOf(tree, dataset, part) {
  const found = Object.entries(tree).map(([model, sets]) => {
    const lists = (dataset === ALL ? Object.values(sets) : sets[dataset] ? [sets[dataset]] : []).map(part).filter((list) => list && list.length);
    return [model, lists.length ? meanOf(lists) : null];
  });
  return found.filter(([, values]) => values);
}
function datasetsOf(tree) {
  const names = [...new Set(Object.values(tree).flatMap((sets) => Object.keys(sets)))];
  return names.length > 1 ? [ALL, ...names] : names;
}
function profileChart(host, tree, part, spec, csv) {
  const names = datasetsOf(tree), body = html("div"), controls = host.querySelector(".controls");
  let shown = names[0];
  const show = (dataset) => {
    shown = dataset;
    const curves = profileOf(tree, dataset, part()), slot = html("div"), keys = html("div");
    body.replaceChildren(slot, keys);
    const setLegend = legend(keys, curves.map(([model]) => [model, nameOf(model), lookOf(model)]));
    chart(slot, spec(curves, setLegend));
  };
  if (names.length > 1) controls.append(picker("", names.map((n) => [n, n]), show));
  host.append(body);
  show(shown);
  host.append(csvButton("Download CSV", csv.name, () => csv.rows(profileOf(tree, shown, part()))));
  return () => show(shown);
}

DRAW.steps = (host) => {
  let metric = "sql";
  const title = () => (metric === "sql" ? "SQL" : "MASE");
  const redraw = profileChart(host, DATA.profiles.steps, () => (one) => one[metric], (curves, setLegend) => {
    const ahead = curves[0][1].map((_, i) => i + 1);
    return {
      height: 300, label: `${title()} by step ahead`,
      x: { domain: [1, ahead.length], label: "step ahead" },
      y: { domain: extent(curves.map((c) => c[1]), 0.06), label: title() },
      draw: (plot) => curves.forEach(([model, values]) => line(plot, ahead, values, lookOf(model))),
      hover: (at) => {
        if (at === null) { setLegend(null); return null; }
        const step = Math.min(ahead.length, Math.max(1, Math.round(at)));
        setLegend(Object.fromEntries(curves.map(([model, values]) => [model, values[step - 1]])));
        return step;
      },
    };
  }, { name: "error-by-step", rows: (curves) => [["step", ...curves.map(([m]) => `${nameOf(m)} ${title()}`)],
    ...curves[0][1].map((_, i) => [i + 1, ...curves.map(([, values]) => values[i])])] });
  host.querySelector(".controls").append(picker("", [["sql", "SQL"], ["mase", "MASE"]], (value) => { metric = value; redraw(); }));
};

DRAW.calibration = (host) => {
  const { levels, below } = DATA.profiles;
  profileChart(host, below, () => (one) => one, (curves, setLegend) => ({
    height: 300, label: "Share of true values at or below each forecast quantile",
    x: { domain: [0, 1], label: "quantile level" },
    y: { domain: [0, 1], label: "share of true values at or below it" },
    draw: (plot) => {
      plot.root.append(svg("line", { class: "axis", x1: plot.x.at(0), y1: plot.y.at(0), x2: plot.x.at(1), y2: plot.y.at(1), "stroke-dasharray": "2 4" }));
      curves.forEach(([model, values]) => line(plot, levels, values, lookOf(model)));
    },
    hover: (at) => {
      if (at === null) { setLegend(null); return null; }
      const i = nearest(levels, at);
      setLegend(Object.fromEntries(curves.map(([model, values]) => [model, values[i]])));
      return levels[i];
    },
  }), { name: "calibration", rows: (curves) => [["level", ...curves.map(([m]) => nameOf(m))],
    ...levels.map((level, i) => [level, ...curves.map(([, values]) => values[i])])] });
};
