// A folder written by `potstill export --format onnx`, executed by onnxruntime-web.

import * as ort from "onnxruntime-web";

import { quantilesOf, standardise } from "./scaling.mjs";

ort.env.wasm.numThreads = 1; // more need a page that is isolated from other origins
ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;

export class Forecaster {
  /** Load the folder at a URL. */
  static async load(folder) {
    const response = await fetch(`${folder}/export.json`);
    if (!response.ok) throw new Error(`${folder}: has no export.json; write it with \`potstill export\`.`);
    const manifest = await response.json();
    const other = manifest.experts?.length || manifest.groups || manifest.distribution?.length;
    if (manifest.format !== "potstill-export" || manifest.backend !== "onnx" || other) {
      throw new Error(`${folder}: this page reads ONNX exports of single students, without --groups.`);
    }
    return new Forecaster(manifest, await ort.InferenceSession.create(`${folder}/${manifest.graph}`));
  }

  constructor(manifest, session) {
    this.manifest = manifest;
    this.session = session;
    this.levels = manifest.levels;
  }

  /** Quantiles `[level][step]` of a series of numbers, NaN where missing, for at most the trained horizon. */
  async predict(series, steps = this.manifest.max_horizon) {
    const { max_context: longest, max_horizon: horizon, horizon_multiple: patch, fixed, arcsinh } = this.manifest;
    if (!series.length) throw new Error("series: has no values; give at least one.");
    if (!(Number.isInteger(steps) && steps >= 1 && steps <= horizon)) {
      throw new Error(`steps: is ${steps}; it must be a whole number from 1 to ${horizon}.`);
    }
    const newest = Array.from(series, (x) => (Number.isFinite(x) ? x : NaN)).slice(-longest);
    const scaled = standardise(newest, this.manifest);
    const patches = Math.ceil(steps / patch);
    const inputs = { context: tensor(this.#padded(scaled.values), [1, -1]) };
    if (!fixed) inputs.patches = tensor(new Float32Array(patches), [patches]);
    const values = (await this.session.run(inputs)).values.data;
    return quantilesOf(values, scaled, this.levels.length, fixed ? horizon : patches * patch, steps, arcsinh);
  }

  /** With missing values at the start, to a length that the graph reads. */
  #padded(values) {
    const { max_context: longest, context_multiple: multiple, fixed } = this.manifest;
    const length = fixed ? longest : Math.ceil(values.length / multiple) * multiple;
    const padded = new Float32Array(length).fill(NaN);
    padded.set(values, length - values.length);
    return padded;
  }
}

function tensor(data, dims) {
  return new ort.Tensor("float32", data, dims.map((size) => (size < 0 ? data.length : size)));
}
