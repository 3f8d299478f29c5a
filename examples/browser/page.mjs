// The page: a column of numbers in, a chart out.

import { Forecaster } from "./forecaster.mjs";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [860, 320, 48];
const BAND = [0.1, 0.9];

/** The numbers of the last column that has some, NaN where a cell is none; a header is left out. */
export function column(text) {
  const rows = text.split(/\r?\n/).map((line) => line.split(/[,;\t]/).map((cell) => cell.trim()));
  while (rows.length && rows.at(-1).every((cell) => cell === "")) rows.pop();
  const numbers = rows.map((row) => row.map((cell) => (cell === "" ? NaN : Number(cell))));
  const width = Math.max(0, ...rows.map((row) => row.length));
  for (let place = width - 1; place >= 0; place -= 1) {
    const found = numbers.map((row) => row[place] ?? NaN);
    const header = Number.isNaN(found[0]) && (rows[0]?.[place] ?? "") !== "" ? 1 : 0;
    if (found.slice(header).filter(Number.isFinite).length * 2 > found.length - header) return found.slice(header);
  }
  throw new Error("data: no column is mostly numbers; paste one number per line, or a CSV file with a column of them.");
}

/** A chart of the last values and the forecast. */
export function chart(series, quantiles, levels) {
  const past = series.slice(-4 * quantiles[0].length);
  const [low, middle, high] = [BAND[0], 0.5, BAND[1]].map((level) => quantiles[nearest(levels, level)]);
  const shown = [...past.filter(Number.isFinite), ...low, ...high];
  const [least, most] = [Math.min(...shown), Math.max(...shown)];
  const count = past.length + middle.length - 1 || 1;
  const x = (step) => MARGIN + (step / count) * (WIDTH - 2 * MARGIN);
  const y = (value) => HEIGHT - MARGIN - ((value - least) / (most - least || 1)) * (HEIGHT - 2 * MARGIN);
  const points = (values, first) =>
    Array.from(values, (value, step) => [x(first + step), y(value)]).filter((point) => Number.isFinite(point[1]));
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  svg.append(
    element("title", {}, "Past values, the median forecast and its 80 % band"),
    element("polygon", { class: "band", points: [...points(low, past.length), ...points(high, past.length).reverse()] }),
    element("polyline", { class: "past", points: points(past, 0) }),
    element("polyline", { class: "median", points: points(middle, past.length) }),
    ...[least, most].map((value) => element("text", { x: 4, y: y(value) }, value.toPrecision(4))),
  );
  return svg;
}

function nearest(levels, level) {
  return levels.reduce((best, one, place) => (Math.abs(one - level) < Math.abs(levels[best] - level) ? place : best), 0);
}

function element(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** Connect the page's form. */
export async function start() {
  const [form, output, said] = ["form", "#chart", "#said"].map((name) => document.querySelector(name));
  const text = form.elements.namedItem("data");
  const folder = new URLSearchParams(location.search).get("model") ?? "model";
  const loading = Forecaster.load(folder);

  async function show() {
    try {
      const forecaster = await loading;
      const series = column(text.value);
      const begin = performance.now();
      const quantiles = await forecaster.predict(series, Number(form.elements.namedItem("steps").value));
      said.textContent = `${series.length} values read, forecast in ${(performance.now() - begin).toFixed(1)} ms`;
      output.replaceChildren(chart(series, quantiles, forecaster.levels));
    } catch (error) {
      said.textContent = error.message;
      output.replaceChildren();
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", async (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) {
      text.value = await file.text();
      show();
    }
  });
  try {
    const { manifest } = await loading;
    const steps = form.elements.namedItem("steps");
    steps.max = manifest.max_horizon;
    steps.value = Math.min(24, manifest.max_horizon);
    said.textContent = `${manifest.name}: ${manifest.parameters.toLocaleString("en")} parameters`;
  } catch (error) {
    said.textContent = error.message;
  }
}
