// How the measures go together, within a prompt and over prompts, as experiments/stats/questions/correlations.py reckons it.

function correlationsTable(asked) {
  const main = asks.measures.flatMap((measure, at) => measure.isMain ? [at] : []);
  const parts = main.map((measure) => partOf(asked, measure));
  const pairs = parts.flatMap((one, at) => parts.slice(at + 1).map((other, ahead) => correlated(one, other, main[at], main[at + 1 + ahead])));
  const families = together(pairs.map((pair) => ({ byPrompt: pair.products })));
  const titleOf = (measure) => data.measures[asks.measures[measure].place].title;
  const rowsOf = pairs.map((pair, at) => [titleOf(pair.first), titleOf(pair.second), pair.prompts, pair.within, pair.low, pair.high, pair.within === null ? null : families[at].p, pair.overPrompts]);
  return { question: asked, found: pairs.map((pair, at) => ({ ...pair, titles: [titleOf(pair.first), titleOf(pair.second)], p: pair.within === null ? null : families[at].p })), name: "correlations", title: "how measures go together", columns: ["measure", "with", "prompts", "within prompts", "low", "high", "p corr.", "over prompts"], rows: rowsOf };
}

function correlated(one, other, first, second) {
  const keyOf = (run) => JSON.stringify([run.prompt, run.seed, run.cell]);
  const values = new Map(other.runs.map((run) => [keyOf(run), run.value]));
  const both = one.runs.filter((run) => values.has(keyOf(run))).map((run) => ({ unit: run.unit, seed: run.seed, x: run.value, y: values.get(keyOf(run)) }));
  const sums = new Map();
  for (const [, rowsOf] of grouped(both, (row) => JSON.stringify([row.unit, row.seed]))) {
    if (rowsOf.length < 2) continue;
    const [x, y] = [mean(rowsOf.map((row) => row.x)), mean(rowsOf.map((row) => row.y))];
    const product = [0, 0, 0];
    for (const row of rowsOf) [(row.x - x) ** 2, (row.y - y) ** 2, (row.x - x) * (row.y - y)].forEach((value, at) => { product[at] += value; });
    sums.set(rowsOf[0].unit, [...(sums.get(rowsOf[0].unit) ?? []), product]);
  }
  const ordered = [...sums].sort(([a], [b]) => byCode(a, b));
  const perPrompt = ordered.map(([, products]) => [0, 1, 2].map((at) => products.reduce((sum, product) => sum + product[at], 0)));
  const total = [0, 1, 2].map((at) => perPrompt.reduce((sum, product) => sum + product[at], 0));
  const least = ["x", "y"].map((name) => both.reduce((most, row) => Math.max(most, TOLERANCE * Math.abs(row[name])), 0) ** 2);
  const within = ratio(total, least);
  const prompts = [...grouped(both, (row) => row.unit).values()].map((rowsOf) => [mean(rowsOf.map((row) => row.x)), mean(rowsOf.map((row) => row.y))]);
  const [x, y] = [mean(prompts.map((row) => row[0])), mean(prompts.map((row) => row[1]))];
  const overPrompts = prompts.length < 3 ? null : ratio(prompts.reduce((sum, row) => [sum[0] + (row[0] - x) ** 2, sum[1] + (row[1] - y) ** 2, sum[2] + (row[0] - x) * (row[1] - y)], [0, 0, 0]), least);
  const products = new Map(ordered.map(([unit, list]) => [unit, mean(list.map((product) => product[2]))]));
  return { first, second, prompts: perPrompt.length, within, overPrompts, products, ...fisher(perPrompt, total, within, least) };
}

const ratio = ([xx, yy, xy], least) => xx > least[0] && yy > least[1] ? xy / Math.sqrt(xx * yy) : null; // beyond rounding

function fisher(perPrompt, total, within, least) { // Fisher's z, its error by leaving out prompts in turn
  const count = perPrompt.length;
  if (within === null || Math.abs(within) >= 1 || count < 6) return { low: null, high: null };
  const zs = perPrompt.map((product) => ratio(total.map((sum, at) => sum - product[at]), least)).map((value) => value !== null && Math.abs(value) < 1 ? Math.atanh(value) : null);
  if (zs.includes(null)) return { low: null, high: null };
  const average = mean(zs);
  const half = asks.student[count - 2] * Math.sqrt(((count - 1) / count) * zs.reduce((sum, z) => sum + (z - average) ** 2, 0));
  return { low: Math.tanh(Math.atanh(within) - half), high: Math.tanh(Math.atanh(within) + half) };
}
