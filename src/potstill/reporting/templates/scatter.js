/* Scaled quantile loss (SQL) relative to seasonal naive, by cost on a logarithmic axis. */
const SHAPES = {
  student: "M0-7A7 7 0 1 1 0 7A7 7 0 1 1 0-7Z", teacher: "M-6-6H6V6H-6Z", control: "M0-8L7.5 6H-7.5Z", ridge: "M0-8L8 0L0 8L-8 0Z",
  auto_theta: "M-7.5-6H7.5L0 8Z", seasonal_naive: "M-7-2.3H-2.3V-7H2.3V-2.3H7V2.3H2.3V7H-2.3V2.3H-7Z",
};

DRAW.scatter = (host) => {
  const { axes, datasets, points } = DATA.scatter, figure = html("div"), missing = html("p", { class: "note" });
  let axis = axes[0], dataset = datasets.length > 1 ? "overall" : datasets[0];
  const spec = { height: 380, label: "SQL relative to seasonal naive against cost", x: {}, y: {} };
  const controls = host.querySelector(".controls");
  controls.append(picker("Cost", axes.map((a) => [a.key, a.label]), (key) => { axis = axes.find((a) => a.key === key); fit(); drawn.update(); }));
  if (datasets.length > 1) {
    const options = [["overall", "All (geometric mean)"], ...datasets.map((d) => [d, d])];
    controls.append(picker("Data set", options, (name) => { dataset = name; fit(); drawn.update(); }));
  }
  const fit = () => {
    const placed = points.filter((p) => p.x[axis.key] > 0 && p.y[dataset] !== undefined);
    const costs = placed.map((p) => p.x[axis.key]);
    const room = Math.max(1.6, (Math.max(...costs) / Math.min(...costs)) ** 0.1);
    spec.x = { domain: [Math.min(...costs) / room, Math.max(...costs) * room], log: true, label: `${axis.label} ${axis.more ? "→ cheaper" : "→ more expensive"}` };
    spec.y = { domain: extent([placed.map((p) => p.y[dataset]), [1]], 0.12), label: "SQL relative to seasonal naive (lower is better)" };
    spec.draw = (plot) => drawPoints(plot, placed, axis.key, dataset);
    const left = points.filter((p) => !placed.includes(p)).map((p) => nameOf(p.model));
    missing.textContent = left.length ? `Not shown because this cost or metric is zero or unknown: ${left.join(", ")}.` : "";
  };
  host.querySelector("figure").append(figure, missing);
  fit();
  const drawn = chart(figure, spec);
};

function drawPoints(plot, placed, cost, dataset) {
  const level = plot.y.at(1);
  plot.root.append(svg("line", { class: "axis", x1: plot.left, x2: plot.right, y1: level, y2: level, "stroke-dasharray": "2 4" }));
  const spots = placed.map((p) => [plot.x.at(p.x[cost]), plot.y.at(p.y[dataset])]);
  const taken = spots.map(([x, y]) => [x - 8, y - 8, x + 8, y + 8]);
  placed.forEach((point, i) => {
    const [x, y] = spots[i], full = nameOf(point.model), name = full.length > 22 ? `${full.slice(0, 21)}…` : full, wide = name.length * 7.2;
    const mark = svg("path", { class: `dot ${lookOf(point.model)}`, d: SHAPES[point.model] || SHAPES.student, transform: `translate(${x} ${y})` });
    mark.append(svg("title", {}, `${full}: ${compact(point.y[dataset])} at ${compact(point.x[cost])}`));
    plot.root.append(mark);
    const boxes = [[x + 12, y + 5, "start", x + 12], [x - 12, y + 5, "end", x - 12 - wide], [x, y - 14, "middle", x - wide / 2], [x, y + 24, "middle", x - wide / 2],
      [x + 10, y - 10, "start", x + 10], [x + 10, y + 20, "start", x + 10]];
    const free = boxes.find(([, base, , from]) => from >= plot.left && from + wide <= plot.right + 8 &&
      !taken.some((t, k) => k !== i && from < t[2] && from + wide > t[0] && base - 12 < t[3] && base + 3 > t[1])) || boxes[2];
    taken.push([free[3], free[1] - 12, free[3] + wide, free[1] + 3]);
    plot.root.append(svg("text", { class: "name", x: free[0], y: free[1], "text-anchor": free[2] }, name));
  });
}
