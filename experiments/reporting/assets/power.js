// What a paired experiment can find, and how many prompts it takes, as experiments/stats/power.py: the same simulated
// experiments where p-values are coarse, the noncentral t distribution where they are fine.

const POWER = 0.8;
const FINE_ENOUGH = 20;
const SIMULATED = 4000;
const SIMULATED_ELEMENTS = 2 ** 24;
const SPREAD_NODES = 100;
const LEAST_SHARE = 1e-4;
const MOST_PROMPTS_PLANNED = 100_000;
const known = new Map();

function once(name, ...rest) { // the last argument makes what is not known yet
  const key = [name, ...rest.slice(0, -1)].join(" ");
  if (!known.has(key)) known.set(key, rest.at(-1)());
  return known.get(key);
}

const smallestP = (prompts) => prompts <= MOST_EXACT ? 2 ** (1 - prompts) : 1 / (RANDOM_PATTERNS + 1);

function leastPrompts(comparisons) { // infinite if none is enough: of more prompts than the exact test takes patterns are random
  for (let prompts = 2; prompts <= MOST_EXACT + 1; prompts += 1) if (smallestP(prompts) <= ALPHA / comparisons) return prompts;
  return Infinity;
}

const atLeast = (needed, noun = "") => Number.isFinite(needed) ? `at least ${needed}${noun}` : "fewer comparisons, since no number of prompts is enough for so many";

// numpy's default_rng(0).normal: the ziggurat of Marsaglia & Tsang 2000 with 256 layers, filled by PCG64

const NORMAL_END = 3.6541528853610088;
const NORMAL_AREA = 0.004928673233974658;

function ziggurat() {
  return once("ziggurat", () => {
    const density = (x) => Math.exp(-0.5 * x * x);
    const [scale, width] = [2 ** 52, NORMAL_AREA / density(NORMAL_END)];
    const layers = { least: new Float64Array(256), width: new Float64Array(256), height: new Float64Array(256) };
    let [x, above] = [NORMAL_END, NORMAL_END];
    Object.assign(layers.least, { 0: (x / width) * scale, 1: 0 });
    Object.assign(layers.width, { 0: width / scale, 255: x / scale });
    Object.assign(layers.height, { 0: 1, 255: density(x) });
    for (let layer = 254; layer > 0; layer -= 1) {
      x = Math.sqrt(-2 * Math.log(NORMAL_AREA / x + density(x)));
      layers.least[layer + 1] = (x / above) * scale;
      above = x;
      layers.width[layer] = x / scale;
      layers.height[layer] = density(x);
    }
    return layers;
  });
}

function normals(count) {
  const state = [...FIRST_STATE];
  const { least, width, height } = ziggurat();
  const next = () => { // 64 bits as two words
    advance(state);
    const [low, high] = [(state[0] ^ state[2]) >>> 0, (state[1] ^ state[3]) >>> 0];
    const turn = state[3] >>> 26;
    const [one, other] = turn < 32 ? [low, high] : [high, low];
    const by = turn % 32;
    return by ? [((one >>> by) | (other << (32 - by))) >>> 0, ((other >>> by) | (one << (32 - by))) >>> 0] : [one, other];
  };
  const share = () => {
    const [low, high] = next();
    return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
  };
  const one = () => {
    for (;;) {
      const [low, high] = next();
      const layer = low & 0xff;
      const isNegative = (low >>> 8) & 1;
      const bits = (low >>> 9) + (high % 2 ** 29) * 2 ** 23; // 52 of them
      const x = (isNegative ? -1 : 1) * bits * width[layer];
      if (bits < least[layer]) return x;
      if (layer === 0) {
        for (;;) {
          const beyond = -Math.log1p(-share()) / NORMAL_END;
          const limit = -Math.log1p(-share());
          if (2 * limit > beyond * beyond) return (Math.floor(bits / 256) % 2 ? -1 : 1) * (NORMAL_END + beyond);
        }
      }
      if ((height[layer - 1] - height[layer]) * share() + height[layer] < Math.exp(-0.5 * x * x)) return x;
    }
  };
  return Float64Array.from({ length: count }, one);
}

// Simulated experiments: the effect from which each is found, as above zero and as below

function leastEffectsFound(prompts, rejected) {
  return once("found", prompts, rejected, () => {
    const patterns = 2 ** (prompts - 1);
    const experiments = Math.min(SIMULATED, Math.floor(SIMULATED_ELEMENTS / patterns));
    const drawn = normals(experiments * prompts);
    const [above, below] = [new Float64Array(experiments), new Float64Array(experiments)];
    for (let at = 0; at < experiments; at += 1) {
      const [low, high] = outermostHalves(drawn.subarray(at * prompts, (at + 1) * prompts), patterns, rejected);
      above[at] = -low;
      below[at] = high;
    }
    return [above.sort(), below.sort()];
  });
}

function outermostHalves(values, patterns, rank) { // the rank-th lowest and highest mean of the halves that patterns make
  const prompts = values.length;
  const total = values.reduce((sum, value) => sum + value, 0);
  const [lows, highs] = [new Float64Array(rank).fill(Infinity), new Float64Array(rank).fill(-Infinity)];
  const isKept = new Uint8Array(prompts).fill(1);
  let [kept, count] = [total, prompts];
  for (let pattern = 1; pattern < patterns; pattern += 1) { // each differs from the last one by one prompt (Gray's code)
    const place = 1 + (31 - Math.clz32(pattern & -pattern));
    const turn = isKept[place] ? -1 : 1;
    isKept[place] ^= 1;
    kept += turn * values[place];
    count += turn;
    const [one, other] = [kept / count, (total - kept) / (prompts - count)];
    const [low, high] = one < other ? [one, other] : [other, one];
    if (low < lows[rank - 1]) insert(lows, low, 1);
    if (high > highs[rank - 1]) insert(highs, high, -1);
  }
  return [lows[rank - 1], highs[rank - 1]];
}

function insert(ordered, value, sign) {
  let at = ordered.length - 1;
  for (; at > 0 && sign * ordered[at - 1] > sign * value; at -= 1) ordered[at] = ordered[at - 1];
  ordered[at] = value;
}

function below(ordered, value) { // how many are smaller
  let [first, last] = [0, ordered.length];
  while (first < last) {
    const middle = (first + last) >> 1;
    if (ordered[middle] < value) first = middle + 1;
    else last = middle;
  }
  return first;
}

function powerOf(effect, prompts, alpha) {
  if (smallestP(prompts) > alpha) return 0;
  const patterns = 2 ** (prompts - 1);
  if (prompts <= MOST_EXACT && alpha * patterns < FINE_ENOUGH) {
    const [above, beneath] = leastEffectsFound(prompts, Math.floor(alpha * patterns * (1 + TOLERANCE)));
    return (below(above, effect) + below(beneath, -effect)) / above.length;
  }
  const critical = once("critical", prompts - 1, alpha, () => studentQuantile(prompts - 1, 1 - alpha / 2));
  const shifted = effect * Math.sqrt(prompts);
  return 1 - noncentralT(prompts - 1, shifted, critical) + noncentralT(prompts - 1, shifted, -critical);
}

function expectedPower(effect, prompts, { alpha, estimatedFrom, differing = 1 }) {
  const spreads = estimatedSpreads(estimatedFrom);
  const average = (count) => mean(Array.from(spreads, (spread) => powerOf((effect / differing) * spread, count, alpha)));
  if (differing === 1) return average(prompts);
  let power = 0;
  for (let count = 0; count <= prompts; count += 1) {
    const share = Math.exp(logGamma(prompts + 1) - logGamma(count + 1) - logGamma(prompts - count + 1) + count * Math.log(differing) + (prompts - count) * Math.log1p(-differing));
    if (share > LEAST_SHARE && count > 0) power += share * average(count);
  }
  return power;
}

function estimatedSpreads(prompts) {
  return once("spreads", prompts, () => Float64Array.from({ length: SPREAD_NODES }, (_, at) => Math.sqrt((2 * gammaQuantile((prompts - 1) / 2, (at + 0.5) / SPREAD_NODES)) / (prompts - 1))));
}

function detectableEffect(prompts, given, power = POWER) { // Infinity where none is
  return once("detectable", prompts, given.alpha, given.estimatedFrom, given.differing ?? 1, power, () => {
    const found = (effect) => expectedPower(effect, prompts, given);
    if (found(Infinity) < power) return Infinity;
    let [tooSmall, enough] = [0, 1];
    while (found(enough) < power) [tooSmall, enough] = [enough, enough * 2];
    while (enough - tooSmall > 1e-4 * enough) {
      const middle = (tooSmall + enough) / 2;
      [tooSmall, enough] = found(middle) >= power ? [tooSmall, middle] : [middle, enough];
    }
    return enough;
  });
}

function promptsForEffect(effect, given) { // null where it takes too many
  const suffices = (prompts) => expectedPower(effect, prompts, given) >= POWER;
  let [tooFew, enough] = [1, 2];
  while (!suffices(enough)) {
    if (enough === MOST_PROMPTS_PLANNED) return null;
    [tooFew, enough] = [enough, Math.min(enough * 2, MOST_PROMPTS_PLANNED)];
  }
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    [tooFew, enough] = suffices(middle) ? [tooFew, middle] : [middle, enough];
  }
  return enough;
}

// Distributions: the normal and the gamma by series and continued fractions (Abramowitz & Stegun 1964, 6.5 and 26.5)

function gammaShare(shape, x) { // regularized lower incomplete gamma function
  if (x <= 0) return 0;
  const front = Math.exp(shape * Math.log(x) - x - logGamma(shape));
  if (x < shape + 1) {
    let [sum, term] = [1 / shape, 1 / shape];
    for (let at = 1; at < 2000 && term > sum * 1e-17; at += 1) sum += term *= x / (shape + at);
    return front * sum;
  }
  return 1 - front * fraction((at) => at === 0 ? [1, x + 1 - shape] : [-at * (at - shape), x + 2 * at + 1 - shape]);
}

function fraction(step) { // continued fraction by Lentz's method
  let [c, d, value] = [1e-300, 0, 1e-300];
  for (let at = 0; at < 2000; at += 1) {
    const [a, b] = step(at);
    d = b + a * d || 1e-300;
    c = b + a / c || 1e-300;
    d = 1 / d;
    const change = c * d;
    value *= change;
    if (Math.abs(change - 1) < 1e-16) break;
  }
  return value;
}

function bisected(isBelow, low, high) {
  let [from, to] = [low, high];
  for (let at = 0; at < 100; at += 1) {
    const middle = (from + to) / 2;
    if (isBelow(middle)) from = middle;
    else to = middle;
  }
  return (from + to) / 2;
}

function gammaQuantile(shape, share) {
  const high = shape + 12 * Math.sqrt(shape) + 40;
  return bisected((x) => gammaShare(shape, x) < share, 0, high);
}

const NORMAL_STEPS = 128; // of 1, between places whose value is known; between them Taylor's series
const NORMAL_REACH = 9;

function normalPlaces() {
  return once("places", () => {
    const count = 2 * NORMAL_REACH * NORMAL_STEPS + 1;
    const places = Float64Array.from({ length: count }, (_, at) => at / NORMAL_STEPS - NORMAL_REACH);
    return { share: places.map((x) => x < 0 ? upperNormal(-x) : 1 - upperNormal(x)), density: places.map((x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) };
  });
}

function normalShares() { // the normal distribution function
  const { share, density } = normalPlaces();
  return (x) => {
    if (x <= -NORMAL_REACH) return 0;
    if (x >= NORMAL_REACH) return 1;
    const at = Math.round((x + NORMAL_REACH) * NORMAL_STEPS);
    const near = at / NORMAL_STEPS - NORMAL_REACH;
    const h = x - near;
    const square = near * near;
    return share[at] + density[at] * h * (1 + h * (-near / 2 + h * ((square - 1) / 6 + h * ((near * (3 - square)) / 24 + (h * (square * square - 6 * square + 3)) / 120))));
  };
}

function upperNormal(x) { // beyond x, without loss where it is small
  if (x < 1.5) return 0.5 - gammaShare(0.5, (x * x) / 2) / 2;
  const square = (x * x) / 2;
  return 0.5 * Math.exp(0.5 * Math.log(square) - square - logGamma(0.5)) * fraction((at) => at === 0 ? [1, square + 0.5] : [-at * (at - 0.5), square + 2 * at + 0.5]);
}

function studentShare(freedom, t) {
  const x = freedom / (freedom + t * t);
  const tail = 0.5 * betaShare(freedom / 2, 0.5, x);
  return t > 0 ? 1 - tail : tail;
}

function betaShare(a, b, x) { // regularized incomplete beta function
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaShare(b, a, 1 - x);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b)) / a;
  const inner = fraction((at) => {
    if (at === 0) return [1, 1];
    const m = at >> 1;
    return [at % 2 ? (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)) : (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)), 1];
  });
  return front * inner;
}

function studentQuantile(freedom, share) {
  let high = 2;
  while (studentShare(freedom, high) < share) high *= 2;
  return bisected((t) => studentShare(freedom, t) < share, 0, high);
}

function spreadRule(freedom) { // what a standard deviation is estimated to be where it is 1: places and weights (Simpson's rule)
  return once("rule", freedom, () => {
    const [low, high] = [0.5e-15, 1 - 0.5e-15].map((share) => Math.sqrt((2 * gammaQuantile(freedom / 2, share)) / freedom));
    const steps = 160;
    const wide = (high - low) / steps;
    const log = Math.log(2) + (freedom / 2) * Math.log(freedom / 2) - logGamma(freedom / 2);
    const places = Array.from({ length: steps + 1 }, (_, at) => low + at * wide);
    const weights = places.map((s, at) => s <= 0 ? 0 : (at === 0 || at === steps ? 1 : at % 2 ? 4 : 2) * (wide / 3) * Math.exp(log + (freedom - 1) * Math.log(s) - (freedom * s * s) / 2));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { places, weights: weights.map((weight) => weight / total) };
  });
}

function noncentralT(freedom, shifted, t) { // P(T <= t)
  if (shifted === Infinity) return 0;
  const { places, weights } = spreadRule(freedom);
  const normalShare = once("normal", normalShares);
  let sum = 0;
  for (let at = 0; at < places.length; at += 1) sum += weights[at] * normalShare(t * places[at] - shifted);
  return sum;
}
