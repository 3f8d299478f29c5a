// From a series to what the graph reads, and from what it gives to quantiles: the arithmetic of potstill_runtime
// (units.py, scaling.py, arithmetic.py), in float64 with the same roundings to float32.

const LARGEST_LEVEL = 2 ** 13; // relative to the range of a series
const SMALLEST = 1e-6; // a smaller range or a larger size is converted to other units
const LARGEST = 1e12;
const SMALLEST_CONSTANT = 0.01;
const UNIT_EXPONENT = 7;
const ROUNDING = 1e-6; // of the mean: the least scale, for students that want it
const MIN_SCALE = 1e-30;

/** A series in units that float32 can represent: the input is `loc + scale * values`. */
export function inSafeUnits(series) {
  const known = series.filter((x) => !Number.isNaN(x));
  const low = known.length ? known.reduce((a, b) => Math.min(a, b)) : 0;
  const high = known.length ? known.reduce((a, b) => Math.max(a, b)) : 0;
  const size = Math.max(Math.abs(low), Math.abs(high));
  const change = high - low;
  const varies = change > 0;
  const far = varies && size > LARGEST_LEVEL * change;
  const least = varies ? change : size;
  const most = far ? change : size;
  const small = least > 0 && least < (varies ? SMALLEST : SMALLEST_CONSTANT);
  const loc = far ? low + change / 2 : 0;
  const scale = small || most > LARGEST ? 2 ** Math.max(exponent(small ? least : most) - UNIT_EXPONENT, -1022) : 1;
  return { values: Float32Array.from(series, (x) => (x - loc) / scale), loc, scale, varies };
}

/** `(x - loc) / scale`, and the arcsinh of that if the manifest says so; `loc` and `scale` are in input units. */
export function standardise(series, manifest) {
  const safe = inSafeUnits(series);
  const known = Array.from(safe.values).filter((x) => !Number.isNaN(x));
  const count = Math.max(known.length, 1);
  const mean = Math.fround(known.reduce((a, b) => a + b, 0) / count);
  let scale = safe.varies ? Math.sqrt(known.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count) : 0;
  if (manifest.rounding) scale = Math.max(scale, ROUNDING * Math.abs(mean));
  if (scale < MIN_SCALE) scale = manifest.constant_scale;
  if (!known.length) scale = 1;
  const values = Float32Array.from(safe.values, (x) => {
    const z = (x - mean) / scale;
    return manifest.arcsinh ? Math.asinh(z) : z;
  });
  return { values, loc: safe.loc + safe.scale * mean, scale: safe.scale * scale };
}

/** Quantiles `[level][step]` in input units, sorted at each step, from the graph's values `[Q * H]`. */
export function quantilesOf(values, scaled, levels, graphSteps, steps, arcsinh) {
  const found = Array.from({ length: levels }, () => new Float64Array(steps));
  for (let step = 0; step < steps; step += 1) {
    const column = Array.from({ length: levels }, (_, level) => {
      const z = values[level * graphSteps + step];
      return (arcsinh ? Math.sinh(z) : z) * scaled.scale + scaled.loc;
    });
    column.sort((a, b) => a - b).forEach((x, level) => (found[level][step] = x));
  }
  return found;
}

/** The exponent e of x = m * 2^e with m from 0.5 to 1. */
function exponent(x) {
  let e = Math.floor(Math.log2(x)) + 1;
  while (x < 2 ** (e - 1)) e -= 1;
  while (x >= 2 ** e) e += 1;
  return e;
}
