/* Best, median and worst windows of one data set, with the selected models. */
DRAW.forecasts = (host) => {
  const models = [...new Set(DATA.examples.flatMap((e) => Object.keys(e.forecasts)))].sort((a, b) => rankOf(a) - rankOf(b));
  const datasets = [...new Set(DATA.examples.map((e) => e.dataset))];
  const on = new Set(models.filter((m) => ["teacher", "student"].includes(m)));
  if (!on.size) models.slice(0, 2).forEach((m) => on.add(m));
  const body = html("div"), controls = host.querySelector(".controls");
  let dataset = datasets[0], charts = [];
  const show = (name) => {
    dataset = name;
    body.replaceChildren();
    charts = DATA.examples.filter((e) => e.dataset === dataset).map((e) => drawExample(body, e, on, models));
  };
  if (datasets.length > 1) controls.append(picker("Data set", datasets.map((d) => [d, d]), show));
  const choices = html("div", { class: "choices", role: "group", "aria-label": "Models shown" });
  for (const model of models) {
    const button = html("button", { type: "button", "aria-pressed": String(on.has(model)), onclick: () => {
      if (on.has(model)) on.delete(model); else on.add(model);
      button.setAttribute("aria-pressed", String(on.has(model)));
      charts.forEach((c) => c.update());
    } }, swatch(lookOf(model)), nameOf(model));
    choices.append(button);
  }
  controls.append(choices);
  host.append(body);
  show(dataset);
};

function rankOf(model) {
  const place = ["teacher", "student", "control", "ridge", "auto_theta", "seasonal_naive"].indexOf(model);
  return place < 0 ? 2.5 : place;
}

function beginning({ times, context, origin }) {
  if (times.length) return ` from ${momentText(times[context.length])}`;
  return origin === null ? "" : ` from row ${origin}`;
}

function drawExample(host, example, on, models) {
  const { context, truth, forecasts, times } = example;
  const past = context.map((_, i) => i - context.length + 1), ahead = truth.map((_, i) => i + 1);
  const kind = example.kind.charAt(0).toUpperCase() + example.kind.slice(1);
  const errors = models.filter((m) => typeof example.sql[m] === "number").map((m) => `${nameOf(m)} ${compact(example.sql[m])}`);
  const figure = html("figure", {}, html("figcaption", {}, html("h3", {}, kind || "Window"),
    html("p", {}, `${example.series}${beginning(example)}${errors.length ? ` · SQL: ${errors.join(", ")}` : ""}`)));
  const slot = html("div"), keys = html("div");
  figure.append(slot, keys);
  host.append(figure);
  let setLegend;
  const spec = {
    height: 270, label: `${kind} window of ${example.dataset}: context, true values and forecasts`,
    x: { domain: [past.length ? past[0] : 1, ahead[ahead.length - 1]], label: times.length ? `the forecast begins ${momentText(times[context.length])}` : "steps from the start of the forecast",
      ticks: times.length ? (count) => dateTicks(times, past.length ? past[0] : 1, count) : null },
    y: {},
    draw: (plot) => {
      plot.root.append(svg("line", { class: "axis", x1: plot.x.at(0), x2: plot.x.at(0), y1: plot.top, y2: plot.bottom }));
      const shown = models.filter((m) => on.has(m) && forecasts[m]).reverse();
      for (const m of shown) band(plot, ahead, forecasts[m][0], forecasts[m][2], lookOf(m));
      line(plot, past, context, "truth past");
      line(plot, ahead, truth, "truth");
      for (const m of shown) line(plot, ahead, forecasts[m][1], lookOf(m));
    },
    hover: (at) => {
      if (at === null) { setLegend(null); return null; }
      const step = Math.min(ahead.length, Math.max(past.length ? past[0] : 1, Math.round(at)));
      const values = { truth: step > 0 ? truth[step - 1] : context[context.length - 1 + step] };
      if (step > 0) for (const m of on) if (forecasts[m]) values[m] = forecasts[m][1][step - 1];
      setLegend(values);
      return step;
    },
  };
  const fit = () => {
    const shown = models.filter((m) => on.has(m) && forecasts[m]);
    spec.y.domain = extent([context, truth, ...shown.flatMap((m) => forecasts[m])], 0.04);
    setLegend = legend(keys, [["truth", "True values", "truth"], ...shown.map((m) => [m, nameOf(m), lookOf(m)])]);
  };
  fit();
  const drawn = chart(slot, spec);
  return { update() { fit(); drawn.update(); } };
}
