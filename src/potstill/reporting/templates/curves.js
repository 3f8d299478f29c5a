/* Training curves: loss by term, and validation metrics. */
DRAW.loss = (host) => {
  const models = Object.keys(DATA.loss), body = html("div");
  const show = (model) => {
    const { total, terms } = DATA.loss[model], names = Object.keys(terms);
    const curves = names.map((name, i) => [`term ${name}`, name, terms[name], `t${i % 5}`]);
    if (total[0].length) curves.unshift(["loss", "total", total, "total"]);
    const domain = extent(curves.map((c) => c[2][1]), 0.02), log = curvesAreSteep(curves);
    const slot = html("div"), keys = html("div"), steps = curves[0][2][0];
    body.replaceChildren(slot, keys);
    const setLegend = legend(keys, curves.map(([key, name, , look]) => [key, name, look]));
    chart(slot, {
      height: 290, label: `Training loss by term, ${nameOf(model)}`,
      x: { domain: extent([steps]), label: "step" },
      y: { domain: log ? extent(curves.map((c) => c[2][1])) : domain, log, label: log ? "loss (log)" : "loss" },
      draw: (plot) => curves.forEach(([, , curve, look]) => line(plot, curve[0], curve[1], look)),
      hover: (at) => hoverCurves(at, curves.map(([key, , curve]) => [key, curve]), setLegend),
    });
  };
  if (models.length > 1) host.querySelector(".controls").append(picker("", models.map((m) => [m, nameOf(m)]), show));
  host.append(body);
  show(models[0]);
};

function curvesAreSteep(curves) {
  const all = curves.flatMap((c) => c[2][1]);
  const low = Math.min(...all);
  return low > 0 && Math.max(...all) / low > 12;
}

function hoverCurves(at, curves, setLegend) {
  if (at === null) { setLegend(null); return null; }
  const steps = curves[0][1][0], step = steps[nearest(steps, at)];
  setLegend(Object.fromEntries(curves.map(([key, curve]) => [key, curve[1][nearest(curve[0], step)]])));
  return step;
}

DRAW.validation = (host) => {
  const names = Object.keys(DATA.validation), body = html("div");
  const show = (name) => {
    const entries = Object.entries(DATA.validation[name]), slot = html("div"), keys = html("div");
    body.replaceChildren(slot, keys);
    const setLegend = legend(keys, entries.map(([model]) => [model, nameOf(model), lookOf(model)]));
    chart(slot, {
      height: 290, label: `${name} on validation by step`,
      x: { domain: extent(entries.map(([, c]) => c[0])), label: "step (the dot marks the best)" },
      y: { domain: extent(entries.map(([, c]) => c[1]), 0.08), label: name },
      draw: (plot) => entries.forEach(([model, [steps, values]]) => {
        line(plot, steps, values, lookOf(model));
        const best = values.indexOf(Math.min(...values));
        plot.root.append(svg("circle", { class: `dot ${lookOf(model)}`, cx: plot.x.at(steps[best]), cy: plot.y.at(values[best]), r: 5 }));
      }),
      hover: (at) => hoverCurves(at, entries, setLegend),
    });
  };
  if (names.length > 1) host.querySelector(".controls").append(picker("", names.map((n) => [n, n]), show));
  host.append(body);
  show(names[0]);
};
