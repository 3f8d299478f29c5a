"use strict";
/* Charts as inline SVG, drawn at their width on the screen, so that text has the same size on a phone. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const DRAW = {}; // drawing functions by the id of a section

function html(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const SVG = (() => { const probe = document.createElement("div"); probe.innerHTML = "<svg></svg>"; return probe.firstChild.namespaceURI; })();
function svg(tag, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  return node;
}

function compact(value) {
  if (value === null || value === undefined) return "–";
  for (const [limit, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " K"]])
    if (Math.abs(value) >= Math.max(limit * 0.9995, 1e4)) return significant(value / limit) + unit;
  return Math.abs(value) >= 1e3 ? Math.round(value).toLocaleString("en") : significant(value);
}
function significant(value) {
  value = Number(value.toPrecision(3));
  if (value === 0) return "0";
  return value.toFixed(Math.min(8, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)) + 1e-9))));
}
function tickText(value, step) {
  const unit = [[1e9, "G"], [1e6, "M"], [1e4, "K"]].find(([limit]) => Math.abs(value) >= limit);
  if (unit) { const by = unit[1] === "K" ? 1e3 : unit[0]; return String(Number((value / by).toPrecision(6))) + " " + unit[1]; }
  if (!step) return String(Number(value.toPrecision(3)));
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace("-", "−");
}

function linear([low, high], [from, to], count) {
  if (low === high) { const pad = Math.abs(low) * 0.1 || 1; low -= pad; high += pad; }
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((m) => m * power >= raw * 0.999);
  const ticks = [];
  for (let t = Math.ceil(low / step - 1e-9); t * step <= high + step * 1e-9; t++) ticks.push(t * step);
  const fine = String(step / power).startsWith("2.5") ? step / 10 : step;
  return { at: (v) => from + ((v - low) / (high - low)) * (to - from), back: (p) => low + ((p - from) / (to - from)) * (high - low),
    ticks, text: (v) => tickText(v, fine) };
}

function logarithmic([low, high], [from, to], count) {
  const a = Math.log10(low), b = Math.log10(high), span = b - a || 1;
  const at = (v) => from + ((Math.log10(v) - a) / span) * (to - from);
  const ticksOf = (parts) => {
    const ticks = [];
    for (let power = Math.floor(a); power <= Math.ceil(b); power++)
      for (const m of parts) { const v = m * 10 ** power; if (v >= low * 0.999 && v <= high * 1.001) ticks.push(v); }
    return ticks;
  };
  let ticks = [[1, 2, 5], [1, 3], [1]].map(ticksOf).find((found) => found.length <= count + 2) || ticksOf([1]);
  if (ticks.length > count + 2) ticks = ticks.filter((_, i) => i % Math.ceil(ticks.length / count) === 0);
  return { at, back: (p) => 10 ** (a + ((p - from) / (to - from)) * span), ticks, text: (v) => tickText(v, 0) };
}

/* spec: height, x and y {domain, log, label, ticks(count): [[value, text]] in place of numbers}, draw(plot), hover(x or null), label (for screen readers) */
function chart(host, spec) {
  const root = svg("svg", { class: "chart", role: "img", "aria-label": spec.label });
  host.append(root);
  let shown = 0;
  const redraw = () => {
    const width = Math.round(host.clientWidth);
    if (width > 0 && width !== shown) { shown = width; paint(root, width, spec); }
  };
  new ResizeObserver(redraw).observe(host);
  redraw();
  return { update() { shown = 0; redraw(); } };
}

function scale(axis, range, count) { return (axis.log ? logarithmic : linear)(axis.domain, range, count); }

function paint(root, width, spec) {
  const { height } = spec, top = 26, bottom = height - 44;
  root.replaceChildren();
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.setAttribute("height", height);
  const y = scale(spec.y, [bottom, top], 5);
  const left = 12 + 7 * Math.max(...y.ticks.map((t) => y.text(t).length), 1), right = width - 18;
  const count = width < 520 ? 4 : 7, x = scale(spec.x, [left, right], count);
  for (const tick of y.ticks) {
    root.append(svg("line", { class: "grid", x1: left, x2: right, y1: y.at(tick), y2: y.at(tick) }));
    root.append(svg("text", { x: left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, y.text(tick)));
  }
  const labels = spec.x.ticks ? spec.x.ticks(count) : x.ticks.map((tick) => [tick, x.text(tick)]);
  for (const [tick, text] of labels) root.append(svg("text", { x: x.at(tick), y: bottom + 18, "text-anchor": "middle" }, text));
  root.append(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  if (spec.y.label) root.append(svg("text", { x: 0, y: 12 }, spec.y.label));
  root.append(svg("text", { x: right, y: bottom + 37, "text-anchor": "end" }, spec.x.label));
  spec.draw({ root, x, y, left, right, top, bottom });
  if (spec.hover) follow(root, x, spec, { left, right, top, bottom });
}

function follow(root, x, spec, box) {
  const cursor = svg("line", { class: "cursor", y1: box.top, y2: box.bottom });
  root.append(cursor);
  root.onpointermove = root.onpointerdown = (event) => {
    const bounds = root.getBoundingClientRect();
    const place = Math.min(box.right, Math.max(box.left, event.clientX - bounds.left));
    const at = spec.hover(x.back(place));
    if (at === null || at === undefined) return;
    cursor.setAttribute("x1", x.at(at)); cursor.setAttribute("x2", x.at(at));
    cursor.style.visibility = "visible";
  };
  root.onpointerleave = () => { cursor.style.visibility = "hidden"; spec.hover(null); };
}

/* A line through [x, y] pairs, interrupted where y is missing. */
function line(plot, xs, ys, look) {
  let path = "", pen = false;
  xs.forEach((at, i) => {
    if (ys[i] === null || ys[i] === undefined) { pen = false; return; }
    path += `${pen ? "L" : "M"}${plot.x.at(at).toFixed(1)} ${plot.y.at(ys[i]).toFixed(1)}${pen ? "" : "h2"}`; // so that a single point is visible
    pen = true;
  });
  if (path) plot.root.append(svg("path", { class: `line ${look}`, d: path }));
}
function band(plot, xs, low, high, look) {
  const known = xs.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
  if (!known.length) return;
  const edge = (ys, ids) => ids.map((i) => `${plot.x.at(xs[i]).toFixed(1)} ${plot.y.at(ys[i]).toFixed(1)}`).join("L");
  plot.root.append(svg("path", { class: `band ${look}`, d: `M${edge(high, known)}L${edge(low, known.slice().reverse())}Z` }));
}

function swatch(look) {
  const node = svg("svg", { class: `swatch ${look}`, viewBox: "0 0 22 10", "aria-hidden": "true" });
  node.append(svg("path", { class: "line", d: "M0 5H22" }));
  return node;
}
function legend(host, entries) {
  const outputs = new Map();
  const list = html("ul", { class: "legend" });
  for (const [key, name, look] of entries) {
    const output = html("output");
    outputs.set(key, output);
    list.append(html("li", {}, swatch(look), name, output));
  }
  host.replaceChildren(list);
  return (values) => { for (const [key, output] of outputs) output.textContent = values && values[key] !== undefined ? compact(values[key]) : ""; };
}

function extent(arrays, pad = 0) {
  let low = Infinity, high = -Infinity;
  for (const array of arrays) for (const v of array) if (v !== null) { if (v < low) low = v; if (v > high) high = v; }
  if (low > high) return [0, 1];
  const extra = (high - low) * pad;
  return [low - extra, high + extra];
}
function nearest(array, value) {
  let best = 0;
  array.forEach((v, i) => { if (Math.abs(v - value) < Math.abs(array[best] - value)) best = i; });
  return best;
}
function picker(title, options, onchange, chosen = null) {
  const select = html("select", { onchange: () => onchange(select.value) });
  for (const [value, text] of options) select.append(html("option", { value, selected: value === chosen ? "" : null }, text));
  return html("label", {}, title, select);
}
const lookOf = (model) => (DATA.models[model] ? DATA.models[model].style : "m-other0");
const nameOf = (model) => (DATA.models[model] ? DATA.models[model].label : model);
