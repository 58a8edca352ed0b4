// The arithmetic of experiments/stats/paired_statistics.py: the same tests of the same sign patterns, so the same numbers.

const ALPHA = 0.05;
const TOLERANCE = 1e-9;
const MOST_EXACT = 16;
const RANDOM_PATTERNS = 9999;
const patternsOf = new Map(); // prompts to { signs, count, seen }, signs by prompt

function signPatterns(prompts) {
  if (!patternsOf.has(prompts)) patternsOf.set(prompts, prompts <= MOST_EXACT ? allPatterns(prompts) : randomPatterns(prompts));
  return patternsOf.get(prompts);
}

function allPatterns(prompts) {
  const count = 2 ** (prompts - 1);
  const signs = new Int8Array(prompts * count).fill(1);
  for (let prompt = 1; prompt < prompts; prompt += 1) {
    for (let at = 0; at < count; at += 1) if ((at >> (prompt - 1)) & 1) signs[prompt * count + at] = -1;
  }
  return { signs, count, seen: 0 };
}

// numpy's default_rng(0).choice([-1, 1]): PCG64 (O'Neill 2014), of whose outputs each half gives its highest bit
const FIRST_STATE = [0xa69561e3, 0x09585eb7, 0x5996452d, 0x1aa1b534]; // of default_rng(0)

function randomPatterns(prompts) {
  const state = [...FIRST_STATE];
  const signs = new Int8Array(prompts * RANDOM_PATTERNS);
  for (let at = 0; at < signs.length; at += 2) {
    advance(state);
    const words = [(state[0] ^ state[2]) >>> 0, (state[1] ^ state[3]) >>> 0];
    const turn = state[3] >>> 26;
    const bit = (place) => (words[(place + turn) % 64 >>> 5] >>> ((place + turn) % 32)) & 1;
    signs[at] = bit(31) ? 1 : -1;
    if (at + 1 < signs.length) signs[at + 1] = bit(63) ? 1 : -1;
  }
  return { signs, count: RANDOM_PATTERNS, seen: 1 };
}

const FACTOR = [0x9fccf645, 0x4385df64, 0x1fc65da4, 0x2360ed05];
const STEP = [0x447873a9, 0x588133bc, 0x3af71a82, 0x418ddadb];

function advance(state) { // state * FACTOR + STEP, modulo 2^128, in 32-bit words, the lowest first
  const sums = [...STEP];
  for (let one = 0; one < 4; one += 1) {
    for (let other = 0; one + other < 4; other += 1) {
      const low = Math.imul(state[one], FACTOR[other]) >>> 0;
      sums[one + other] += low;
      if (one + other < 3) sums[one + other + 1] += highProduct(state[one], FACTOR[other]);
    }
  }
  for (let word = 0; word < 4; word += 1) {
    if (word < 3) sums[word + 1] += Math.floor(sums[word] / 2 ** 32);
    state[word] = sums[word] >>> 0;
  }
}

function highProduct(one, other) {
  const [a, b, c, d] = [one >>> 16, one & 0xffff, other >>> 16, other & 0xffff];
  const middle = a * d + ((b * d) >>> 16) + ((b * c) & 0xffff);
  return a * c + Math.floor((b * c) / 65536) + Math.floor(middle / 65536);
}

function flippedSums(values) {
  const { signs, count } = signPatterns(values.length);
  const sums = new Float64Array(count);
  values.forEach((value, prompt) => {
    if (value === 0) return;
    for (let at = 0, place = prompt * count; at < count; at += 1, place += 1) sums[at] += value * signs[place];
  });
  return sums;
}

const slackOf = (values) => TOLERANCE * Math.max(...values.map(Math.abs));

function meansOfHalves(values) {
  const { signs, count } = signPatterns(values.length);
  const total = values.reduce((sum, value) => sum + value, 0);
  const flipped = flippedSums(values);
  const kept = new Float64Array(count);
  for (let prompt = 0, place = 0; prompt < values.length; prompt += 1) {
    for (let at = 0; at < count; at += 1, place += 1) if (signs[place] > 0) kept[at] += 1;
  }
  const low = new Float64Array(count).fill(-Infinity);
  const high = new Float64Array(count).fill(Infinity);
  for (let at = 0; at < count; at += 1) {
    if (kept[at] === 0 || kept[at] === values.length) continue;
    const one = (total + flipped[at]) / (2 * kept[at]);
    const other = (total - flipped[at]) / (2 * (values.length - kept[at]));
    low[at] = Math.min(one, other);
    high[at] = Math.max(one, other);
  }
  return { low, high };
}

function signFlip(values, alpha = ALPHA) { // p-value, and the interval of all that the test does not reject
  const { count, seen } = signPatterns(values.length);
  const { low, high } = meansOfHalves(values);
  const slack = slackOf(values);
  let asFar = seen;
  for (let at = 0; at < count; at += 1) if (low[at] <= slack && high[at] >= -slack) asFar += 1;
  const least = Math.floor(alpha * (count + seen) * (1 + TOLERANCE)) + 1 - seen;
  const ends = [low.sort()[least - 1], high.sort()[count - least]].map((end) => Math.abs(end) <= slack ? 0 : end);
  const isBounded = Number.isFinite(ends[0]);
  return { p: asFar / (count + seen), low: isBounded ? ends[0] : null, high: isBounded ? ends[1] : null };
}

function holm(pValues) {
  const order = pValues.map((_, index) => index).sort((a, b) => pValues[a] - pValues[b] || a - b);
  const adjusted = new Array(pValues.length);
  let most = 0;
  order.forEach((index, rank) => { adjusted[index] = most = Math.max(most, Math.min(1, pValues[index] * (pValues.length - rank))); });
  return adjusted;
}

// contrasts are maps from prompt to its difference; those that a prompt lacks are 0 there (step-down max-T); tests are what a
// contrast's smallest p-value is multiplied by, since the others are tested with it
function signFlipsTogether(contrasts) {
  const prompts = [...new Set(contrasts.flatMap((contrast) => [...contrast.keys()]))].sort(byCode);
  const { count, seen } = signPatterns(prompts.length);
  const units = contrasts.map((contrast) => {
    const values = prompts.map((prompt) => contrast.get(prompt) ?? 0);
    const length = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0)) || 1;
    return values.map((value) => value / length);
  });
  const extremes = units.map((unit) => Math.abs(unit.reduce((sum, value) => sum + value, 0)));
  const order = extremes.map((_, index) => index).sort((a, b) => extremes[b] - extremes[a] || a - b);
  const most = new Float64Array(count);
  const pValues = new Array(contrasts.length);
  for (const index of [...order].reverse()) {
    const sums = flippedSums(units[index]);
    let asFar = seen;
    for (let at = 0; at < count; at += 1) {
      most[at] = Math.max(most[at], Math.abs(sums[at]));
      if (most[at] >= extremes[index] - TOLERANCE) asFar += 1;
    }
    pValues[index] = asFar / (count + seen);
  }
  let largest = 0;
  for (const index of order) pValues[index] = largest = Math.max(largest, pValues[index]);
  const tests = units.map((unit) => {
    const differing = unit.filter(Boolean).length;
    const least = Math.sqrt(differing) - TOLERANCE;
    const beyond = most.reduce((sum, value) => sum + (value >= least ? 1 : 0), 0);
    return Math.max(1, Math.ceil((beyond + seen) / (count + seen) / smallestP(Math.max(differing, 1)) - 1e-9));
  });
  return { pValues, tests };
}

const byCode = (one, other) => one < other ? -1 : one > other ? 1 : 0;

// Groups of prompts dealt out anew, by the same 9,999 orders as experiments/stats/questions/contrasts.py

const SHUFFLES = 9999;

function shuffles(prompts) {
  return Array.from({ length: SHUFFLES }, (_, row) => {
    const keys = Array.from({ length: prompts }, (_unused, at) => mixed((row * prompts + at + 1) >>> 0));
    return keys.map((_unused, at) => at).sort((a, b) => keys[a] - keys[b] || a - b);
  });
}

function mixed(number) {
  let bits = number;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

function groupsPValues(rows, groups) { // rows: one per level, a number or null per prompt
  const centred = rows.map((row) => {
    const there = row.filter((value) => value !== null);
    const mean = there.reduce((sum, value) => sum + value, 0) / Math.max(there.length, 1);
    const values = row.map((value) => value === null ? 0 : value - mean);
    const total = values.reduce((sum, value) => sum + value ** 2, 0);
    const scale = Math.max(0, ...there.map(Math.abs));
    return { row, values, total: total > (TOLERANCE * scale) ** 2 ? total : 0 };
  });
  const groupCount = Math.max(...groups) + 1;
  const between = ({ row, values, total }, deal) => {
    if (!total) return 0;
    const sums = new Float64Array(groupCount);
    const counts = new Float64Array(groupCount);
    for (let at = 0; at < row.length; at += 1) {
      if (row[at] === null) continue;
      sums[groups[deal[at]]] += values[at];
      counts[groups[deal[at]]] += 1;
    }
    return sums.reduce((sum, value, group) => sum + value ** 2 / Math.max(counts[group], 1), 0) / total;
  };
  const asSeen = groups.map((_, index) => index);
  const seen = centred.map((item) => between(item, asSeen));
  const order = seen.map((_, index) => index).sort((a, b) => seen[b] - seen[a] || a - b);
  const asFar = new Array(rows.length).fill(1);
  for (const deal of shuffles(groups.length)) {
    let most = 0;
    for (const index of [...order].reverse()) {
      most = Math.max(most, between(centred[index], deal));
      if (most >= seen[index] - TOLERANCE) asFar[index] += 1;
    }
  }
  const pValues = new Array(rows.length);
  let largest = 0;
  for (const index of order) pValues[index] = largest = Math.max(largest, asFar[index] / (SHUFFLES + 1));
  return pValues;
}

function hedges(values) { // Hedges' g of paired differences
  const freedom = values.length - 1;
  if (values.length < 3) return null;
  const average = mean(values);
  const deviation = deviationOf(values);
  if (deviation <= slackOf(values)) return null;
  return (average / deviation) * Math.exp(logGamma(freedom / 2) - logGamma((freedom - 1) / 2) - 0.5 * Math.log(freedom / 2));
}

function deviationOf(values) {
  const average = mean(values);
  return values.length < 2 ? null : Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / (values.length - 1));
}

const LANCZOS = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];

function logGamma(value) { // Lanczos 1964
  if (value < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * value)) - logGamma(1 - value);
  const series = LANCZOS.slice(1).reduce((sum, part, index) => sum + part / (value + index), LANCZOS[0]);
  const base = value + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (value - 0.5) * Math.log(base) - base + Math.log(series);
}
