// Questions after the first, answered from the data that the page carries, as experiments/stats/questions/ does: tables of the
// same names and columns, with the same numbers.

const asks = data.questions;
const COMPARED = ["pairs", "prompts", "difference", "low", "high", "p corr.", "p", "wins", "g"];
const unitOf = (prompt) => asks.alike[data.prompts[prompt].id] ?? data.prompts[prompt].id;

// The runs that are asked about, as an experiment of its own: axes of which one level is left are gone
function partOf(asked, measure) {
  const kept = data.axes.map((axis) => asked.levels[axis.name] === undefined ? axis.levels.map((_, index) => index) : [asked.levels[axis.name]]);
  const varied = data.axes.map((_, index) => index).filter((index) => kept[index].length > 1);
  const axes = varied.map((index) => ({ name: data.axes[index].name, levels: kept[index].map((level) => data.axes[index].levels[level]), numbers: asks.numbers[index] }));
  const nameOf = (cell) => varied.map((index) => data.axes[index].levels[cell[index]]).join(" x ");
  const isKept = (cell) => cell.every((level, index) => kept[index].includes(level));
  const cells = data.cells.filter(isKept).map((cell) => ({ name: nameOf(cell), levels: varied.map((index) => data.axes[index].levels[cell[index]]) }));
  const own = varied.map((index) => data.axes[index].levels[data.cells[data.baseline][index]]);
  const isThere = own.every((level, index) => axes[index].levels.includes(level));
  const baseline = asked.baseline || (isThere ? own.join(" x ") : "");
  const runs = [];
  data.run.row.forEach((row, run) => {
    const [prompt, seed] = data.rows[row];
    const cell = data.cells[data.run.level[run]];
    const value = asks.measures[measure].values[run];
    const hasProperties = Object.entries(asked.properties).every(([name, wanted]) => asks.properties[name][data.prompts[prompt].id] === wanted);
    if (value === null || !isKept(cell) || !hasProperties || (asked.seed !== undefined && data.run.seed[run] !== asked.seed)) return;
    runs.push({ run, prompt, unit: unitOf(prompt), seed, cell: nameOf(cell), levels: varied.map((index) => data.axes[index].levels[cell[index]]), value });
  });
  return { axes, variable: axes.map((axis) => axis.name).join(" x "), cells, names: cells.map((cell) => cell.name), baseline, runs };
}

// One number per unit (prompt, seed, what else is held fixed) and level, the mean where several runs are there
function paired(runs, levelOf, restOf = () => "") {
  const table = new Map();
  for (const run of runs) {
    const key = JSON.stringify([run.unit, run.seed, restOf(run)]);
    const unit = table.get(key) ?? table.set(key, { key, prompt: run.unit, values: new Map() }).get(key);
    const level = levelOf(run);
    (unit.values.get(level) ?? unit.values.set(level, []).get(level)).push(run.value);
  }
  for (const unit of table.values()) for (const [level, values] of unit.values) unit.values.set(level, mean(values));
  return [...table.values()];
}

const byAxis = (part, index) => paired(part.runs, (run) => run.levels[index], (run) => run.levels.filter((_, at) => at !== index).join("\n"));

// What each unit gives, by weights of levels; units that lack one are left out
function contrast(units, weights) {
  const pairs = [];
  const byPrompt = new Map();
  for (const unit of units) {
    if (weights.some(([level]) => !unit.values.has(level))) continue;
    const value = weights.reduce((sum, [level, weight]) => sum + weight * unit.values.get(level), 0);
    pairs.push(value);
    byPrompt.set(unit.prompt, [...(byPrompt.get(unit.prompt) ?? []), value]);
  }
  return { pairs, byPrompt: new Map([...byPrompt].sort(([one], [other]) => byCode(one, other)).map(([prompt, values]) => [prompt, mean(values)])) };
}

const difference = (units, level, other) => contrast(units, [[level, 1], [other, -1]]);

function compared({ pairs, byPrompt }, corrected) {
  const values = [...byPrompt.values()];
  const found = { pairs: pairs.length, prompts: values.length, difference: null, low: null, high: null, corrected: null, p: null, wins: null, g: null };
  if (!values.length) return found;
  found.difference = mean(values);
  const test = signFlip(values);
  Object.assign(found, { low: test.low, high: test.high });
  if (values.length < 2) return found;
  const wins = mean(pairs.map((pair) => (Math.sign(pair) + 1) / 2));
  return Object.assign(found, { p: test.p, corrected: corrected ?? null, wins, g: hedges(values) });
}

function together(contrasts) { // corrected p-values of those with two prompts or more; null for others
  const tested = contrasts.filter((item) => item.byPrompt.size >= 2);
  const pValues = tested.length ? signFlipsTogether(tested.map((item) => item.byPrompt)) : [];
  return contrasts.map((item) => tested.includes(item) ? pValues[tested.indexOf(item)] : null);
}

const comparedCells = (item) => [item.pairs, item.prompts, item.difference, item.low, item.high, item.corrected, item.p, item.wins, item.g];

// Every level beside the baseline: Holm's method along one axis, one plan of tests in a grid

function baselineTable(part, column) {
  const units = paired(part.runs, (run) => run.cell);
  const others = part.names.filter((name) => name !== part.baseline);
  const contrasts = others.map((name) => difference(units, name, part.baseline));
  const corrected = part.axes.length > 1 ? gridCorrected(part, contrasts) : holmCorrected(contrasts);
  const rowsOf = part.names.map((name) => {
    const values = part.runs.filter((run) => run.cell === name);
    const means = new Map();
    for (const run of values) means.set(run.unit, [...(means.get(run.unit) ?? []), run.value]);
    const average = mean([...means.values()].map(mean));
    const at = others.indexOf(name);
    const cells = at < 0 ? COMPARED.map(() => null) : comparedCells(compared(contrasts[at], corrected[at]));
    return [name, values.length, average, deviationOf(values.map((run) => run.value)), ...cells];
  });
  return { name: column, title: `${part.variable}, beside ${part.baseline}`, columns: [part.variable, "n", "mean", "sd", ...COMPARED], rows: rowsOf };
}

function holmCorrected(contrasts) {
  const tested = contrasts.filter((item) => item.byPrompt.size >= 2);
  const adjusted = holm(tested.map((item) => signFlip([...item.byPrompt.values()]).p));
  return contrasts.map((item) => tested.includes(item) ? adjusted[tested.indexOf(item)] : null);
}

function gridCorrected(part, contrasts) {
  const base = part.cells.find((cell) => cell.name === part.baseline).levels;
  const axes = part.axes.flatMap((axis, index) => {
    const units = byAxis(part, index);
    return axis.levels.filter((level) => level !== base[index]).map((level) => difference(units, level, base[index]));
  });
  const rest = [];
  part.axes.forEach((first, one) => part.axes.slice(one + 1).forEach((second, ahead) => {
    const other = one + 1 + ahead;
    const keyOf = (run) => `${run.levels[one]}\n${run.levels[other]}`;
    const keys = first.levels.flatMap((row) => second.levels.map((column) => `${row}\n${column}`));
    const units = paired(part.runs, keyOf, (run) => run.levels.filter((_, at) => at !== one && at !== other).join("\n"));
    first.levels.forEach((row) => second.levels.forEach((column) => rest.push(contrast(units, keys.map((key) => {
      const [of, at] = key.split("\n");
      const [rows, columns] = [first.levels.length, second.levels.length];
      return [key, (of === row && at === column ? 1 : 0) - (of === row ? 1 / columns : 0) - (at === column ? 1 / rows : 0) + 1 / (rows * columns)];
    })))));
  }));
  return together([...contrasts, ...axes, ...rest]).slice(0, contrasts.length);
}

// All pairs

function pairsTables(part, column) {
  const tables = [{ variable: part.variable, units: paired(part.runs, (run) => run.cell), levels: part.names }];
  if (part.axes.length > 1) part.axes.forEach((axis, index) => tables.push({ variable: axis.name, units: byAxis(part, index), levels: axis.levels }));
  const members = tables.flatMap((table) => {
    const known = new Set(table.units.flatMap((unit) => [...unit.values.keys()]));
    const levels = table.levels.filter((level) => known.has(level));
    return levels.flatMap((other, at) => levels.slice(at + 1).map((level) => ({ table, level, other, ...difference(table.units, level, other) })));
  });
  const corrected = together(members);
  return tables.map((table) => ({
    name: `${column}_pairs_${table.variable}`,
    title: `all pairs of ${table.variable}`,
    columns: ["level", "minus", ...COMPARED],
    rows: members.flatMap((item, index) => item.table === table ? [[item.level, item.other, ...comparedCells(compared(item, corrected[index]))]] : []),
  }));
}

// Groups

function groupsTable(part, by, column) {
  const isWithin = part.axes.some((axis) => axis.name === by);
  const at = part.axes.findIndex((axis) => axis.name === by);
  const rest = part.axes.filter((_, index) => index !== at);
  const restOf = (levels) => levels.filter((_, index) => index !== at).join(" x ");
  const groupOf = (run) => isWithin ? run.levels[at] : asks.properties[by][data.prompts[run.prompt].id];
  const base = restOf(part.cells.find((cell) => cell.name === part.baseline).levels);
  const levels = [...new Set(part.cells.map((cell) => restOf(cell.levels)))];
  const ordered = [...part.runs].sort((one, other) => one.prompt - other.prompt);
  const names = isWithin ? part.axes[at].levels : [...new Set(ordered.map(groupOf))];
  const units = new Map(names.map((group) => [group, paired(part.runs.filter((run) => groupOf(run) === group), (run) => restOf(run.levels))]));
  const members = names.filter((group) => units.get(group).length).flatMap((group) => {
    const known = new Set(units.get(group).flatMap((unit) => [...unit.values.keys()]));
    if (!known.has(base)) return [];
    return levels.filter((level) => level !== base && known.has(level)).map((level) => ({ group, level, ...difference(units.get(group), level, base) }));
  });
  const corrected = together(members);
  const rowsOf = names.filter((group) => units.get(group).length).flatMap((group) => levels.map((level) => {
    const own = part.runs.filter((run) => groupOf(run) === group && restOf(run.levels) === level);
    const means = new Map();
    for (const run of own) means.set(run.unit, [...(means.get(run.unit) ?? []), run.value]);
    const index = members.findIndex((item) => item.group === group && item.level === level);
    const cells = index < 0 ? COMPARED.map(() => null) : comparedCells(compared(members[index], corrected[index]));
    return [group, level, mean([...means.values()].map(mean)), ...cells];
  }));
  const variable = rest.map((axis) => axis.name).join(" x ");
  return {
    name: `${column}_by_${by}`,
    title: `${variable} by ${by}, beside ${base}`,
    columns: [by, variable, "mean", ...COMPARED],
    rows: rowsOf,
    differs: disagreements(members, levels, isWithin, units, base),
  };
}

function disagreements(members, levels, isWithin, units, base) { // level to the p-value of "it is the same in all groups"
  const groups = [...new Set(members.map((item) => item.group))];
  if (isWithin) {
    const contrasts = levels.filter((level) => level !== base).flatMap((level) => groups.flatMap((one, at) => groups.slice(at + 1).map((other) => ({ level, ...acrossGroups(units.get(one), units.get(other), level, base) }))));
    const corrected = together(contrasts);
    return new Map(levels.filter((level) => level !== base).map((level) => [level, Math.min(...contrasts.flatMap((item, index) => item.level === level && corrected[index] !== null ? [corrected[index]] : []))]));
  }
  const sizes = new Map(groups.map((group) => [group, Math.max(...members.filter((item) => item.group === group).map((item) => item.byPrompt.size))]));
  const counted = groups.filter((group) => sizes.get(group) >= 2);
  if (counted.length < 2) return new Map();
  const prompts = counted.flatMap((group) => [...new Set(members.filter((item) => item.group === group).flatMap((item) => [...item.byPrompt.keys()]))].map((prompt) => ({ group, prompt })));
  prompts.sort((one, other) => byCode(one.prompt, other.prompt));
  const tested = [...new Set(members.map((item) => item.level))];
  const table = tested.map((level) => prompts.map(({ group, prompt }) => members.find((item) => item.group === group && item.level === level)?.byPrompt.get(prompt) ?? null));
  const pValues = groupsPValues(table, prompts.map(({ group }) => counted.indexOf(group)));
  return new Map(tested.map((level, index) => [level, pValues[index]]));
}

function acrossGroups(one, other, level, base) {
  const first = new Map(one.map((unit) => [unit.key, unit]));
  const both = other.filter((unit) => first.has(unit.key));
  const joined = both.map((unit) => ({ prompt: unit.prompt, values: new Map([...prefixed("a", first.get(unit.key).values), ...prefixed("b", unit.values)]) }));
  return contrast(joined, [[`b${level}`, 1], [`b${base}`, -1], [`a${level}`, -1], [`a${base}`, 1]]);
}

const prefixed = (prefix, values) => [...values].map(([level, value]) => [prefix + level, value]);

// Trends, spreads and correlations

function trendTable(part, name, column) {
  const index = part.axes.findIndex((axis) => axis.name === name);
  const points = part.axes[index].levels.map((level) => ({ level, value: Number(level) })).sort((one, other) => one.value - other.value);
  const middle = mean(points.map((point) => point.value));
  const spread = points.reduce((sum, point) => sum + (point.value - middle) ** 2, 0);
  const line = points.map((point) => (point.value - middle) / spread);
  const contrasts = [contrast(byAxis(part, index), points.map((point, at) => [point.level, line[at]]))];
  if (points.length > 2) {
    const squares = points.map((point) => (point.value - middle) ** 2);
    const average = mean(squares);
    const tilt = squares.reduce((sum, square, at) => sum + (square - average) * (points[at].value - middle), 0) / spread;
    const bent = squares.map((square, at) => square - average - tilt * (points[at].value - middle));
    const length = bent.reduce((sum, value) => sum + value ** 2, 0);
    contrasts.push(contrast(byAxis(part, index), points.map((point, at) => [point.level, bent[at] / length])));
  }
  const corrected = together(contrasts);
  const found = contrasts.map((item, at) => compared(item, corrected[at]));
  const slopes = [...contrasts[0].byPrompt].sort(([, one], [, other]) => one - other);
  return {
    name: `${column}_slopes_${name}`, title: `slope along ${name}`, columns: ["prompt", "slope"], rows: slopes, axis: name,
    slope: found[0], bend: found[1] ?? null,
  };
}

function quarterOf(values, share) { // of values in rising order
  const place = share * (values.length - 1);
  const below = Math.floor(place);
  return values[below] + (place - below) * ((values[below + 1] ?? values[below]) - values[below]);
}

function spreadsTable(part, column) {
  const units = paired(part.runs, (run) => run.cell);
  const rowsOf = part.names.filter((name) => name !== part.baseline).map((name) => {
    const entries = [...difference(units, name, part.baseline).byPrompt];
    if (!entries.length) return [name, 0, 0, null, null, null, null, null, "", ""];
    const values = entries.map(([, value]) => value).sort((one, other) => one - other);
    const at = (value) => entries.find(([, other]) => other === value)[0];
    return [name, values.length, values.filter((value) => value > 0).length, ...[0, 0.25, 0.5, 0.75, 1].map((share) => quarterOf(values, share)), at(values[0]), at(values.at(-1))];
  });
  const columns = ["level", "prompts", "above 0", "least", "1/4", "median", "3/4", "most", "least at", "most at"];
  return { name: `${column}_prompts`, title: "differences over prompts", columns, rows: rowsOf };
}

function correlationsTable(asked) {
  const parts = asks.measures.map((_, measure) => partOf(asked, measure));
  const pairs = parts.flatMap((one, at) => parts.slice(at + 1).map((other, ahead) => correlated(one, other, at, at + 1 + ahead)));
  const corrected = together(pairs.map((pair) => ({ byPrompt: pair.products })));
  const titleOf = (measure) => data.measures[asks.measures[measure].place].title;
  const rowsOf = pairs.map((pair, at) => [titleOf(pair.first), titleOf(pair.second), pair.prompts, pair.within, pair.low, pair.high, pair.within === null ? null : corrected[at], pair.overPrompts]);
  return { name: "correlations", title: "how measures go together", columns: ["measure", "with", "prompts", "within prompts", "low", "high", "p corr.", "over prompts"], rows: rowsOf };
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

function grouped(items, keyOf) {
  const found = new Map();
  for (const item of items) {
    const key = keyOf(item);
    (found.get(key) ?? found.set(key, []).get(key)).push(item);
  }
  return found;
}
