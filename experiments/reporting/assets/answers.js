// Questions after the first, answered from the data that the page carries, as experiments/stats/questions/ does: tables of the
// same names and columns, with the same numbers.

const asks = data.questions;
const COMPARED = ["pairs", "prompts", "difference", "low", "high", "p corr.", "p", "wins", "g"];
const unfinished = new Set(asks?.unfinished);
const unitOf = (prompt) => asks.alike[data.prompts[prompt].id] ?? data.prompts[prompt].id;

// The runs that are asked about, as an experiment of its own: axes of which one level is left are gone
function partOf(asked, measure) {
  const kept = data.axes.map((axis) => asked.levels[axis.name] === undefined ? axis.levels.map((_, index) => index) : [asked.levels[axis.name]]);
  const varied = data.axes.map((_, index) => index).filter((index) => kept[index].length > 1);
  const axes = varied.map((index) => ({ name: data.axes[index].name, levels: kept[index].map((level) => data.axes[index].levels[level]), numbers: asks.numbers[index] }));
  const nameOf = (cell) => varied.map((index) => data.axes[index].levels[cell[index]]).join(" x ");
  const isKept = (cell) => cell.every((level, index) => kept[index].includes(level));
  const cells = data.cells.filter(isKept).map((cell) => ({ name: nameOf(cell), levels: varied.map((index) => data.axes[index].levels[cell[index]]) }));
  const blocks = new Set(asks.times.blocks.filter((_, at) => isKept(data.cells[at])));
  const own = varied.map((index) => data.axes[index].levels[data.cells[data.baseline][index]]);
  const isThere = own.every((level, index) => axes[index].levels.includes(level));
  const baseline = asked.baseline || (isThere ? own.join(" x ") : "");
  const isAsked = (name) => Object.entries(asked.properties).every(([property, wanted]) => asks.properties[property][name] === wanted);
  const isSeed = (seed) => asked.seed === undefined || seed === asked.seed;
  const finished = [...data.run.row.keys()].filter((run) => !unfinished.has(run) && isKept(data.cells[data.run.level[run]]) && isAsked(data.prompts[data.rows[data.run.row[run]][0]].id) && isSeed(data.run.seed[run]));
  const times = comparableTimes(finished);
  const values = asks.measures[measure].isTime ? times.values : asks.measures[measure].values;
  const runs = finished.filter((run) => values[run] !== null && values[run] !== undefined).map((run) => {
    const [prompt, seed] = data.rows[data.run.row[run]];
    const cell = data.cells[data.run.level[run]];
    return { run, prompt, unit: unitOf(prompt), seed, cell: nameOf(cell), levels: varied.map((index) => data.axes[index].levels[cell[index]]), value: values[run] };
  });
  const isElsewhere = baseline !== own.join(" x ") || kept.some((levels, index) => !varied.includes(index) && levels[0] !== data.cells[data.baseline][index]);
  const isWhole = !Object.keys(asked.properties).length && !Object.keys(asked.levels).length && asked.seed === undefined && baseline === own.join(" x ");
  const planned = plannedRuns(isAsked, isSeed, isKept, nameOf);
  return { axes, variable: axes.map((axis) => axis.name).join(" x "), cells, names: cells.map((cell) => cell.name), baseline, runs, finished, planned, isElsewhere, isWhole, timeNote: times.note, tookTurns: blocks.size < 2 };
}

// Times that may be compared, as experiments/store/comparable.py: of the run of the command that made most, without its warm-up
function comparableTimes(finished) {
  const { seconds, sessions } = asks.times;
  const timed = finished.filter((run) => seconds[run] !== null);
  const made = [...grouped(timed.filter((run) => sessions[run] !== null), (run) => sessions[run]).values()];
  let kept = made.reduce((one, other) => other.length > one.length ? other : one, []);
  if (new Set(kept.map((run) => data.run.level[run])).size < 2) kept = [];
  const values = [];
  for (const run of kept) values[run] = seconds[run];
  if (kept.length === timed.length) return { values, note: null };
  if (!kept.length) return { values, note: "Time is not compared: no single run of the command made several levels beside its first prompt, which carries the warm-up." };
  return { values, note: `Time is compared for ${kept.length} of ${timed.length} pictures: those of one run of the command on one machine, without its first prompt, which carries the warm-up.` };
}

// A part with its analysis, reckoned once for all that is said of one question
const reckoned = { question: "", parts: new Map() };

function analysed(question, measure) {
  const { properties, levels, seed, baseline } = question;
  const key = JSON.stringify([properties, levels, seed, baseline]);
  if (reckoned.question !== key) Object.assign(reckoned, { question: key, parts: new Map() });
  if (!reckoned.parts.has(measure)) {
    const part = partOf(question, measure);
    reckoned.parts.set(measure, { part, analysis: analysisOf(part) });
  }
  return reckoned.parts.get(measure);
}

function plannedRuns(isAsked, isSeed, isKept, nameOf) { // what commands asked for of a part, by its levels
  const wanted = new Map();
  for (const block of asks.planned) {
    const prompts = block.prompts.filter(isAsked);
    const seeds = block.seeds.filter(isSeed);
    for (const cell of data.cells.filter((levels) => isKept(levels) && levels.every((level, axis) => block.levels[axis].includes(data.axes[axis].levels[level])))) {
      const name = nameOf(cell);
      const known = wanted.get(name) ?? wanted.set(name, new Set()).get(name);
      for (const prompt of prompts) for (const seed of seeds) known.add(`${seed} ${prompt}`);
    }
  }
  return new Map([...wanted].map(([name, known]) => [name, known.size]));
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
    const parts = weights.map(([level, weight]) => weight * unit.values.get(level));
    const sum = parts.reduce((total, part) => total + part, 0);
    const value = weights.length > 2 && Math.abs(sum) <= TOLERANCE * parts.reduce((size, part) => size + Math.abs(part), 0) ? 0 : sum; // rounding
    pairs.push(value);
    byPrompt.set(unit.prompt, [...(byPrompt.get(unit.prompt) ?? []), value]);
  }
  return { pairs, byPrompt: new Map([...byPrompt].sort(([one], [other]) => byCode(one, other)).map(([prompt, values]) => [prompt, mean(values)])) };
}

const difference = (units, level, other) => contrast(units, [[level, 1], [other, -1]]);

function compared({ pairs, byPrompt }, family, level, baseline) { // a level beside another, as a sentence needs it
  const values = [...byPrompt.values()];
  const found = { level, baseline, values, pairs: pairs.length, prompts: values.length, difference: null, low: null, high: null, corrected: null, p: null, wins: null, g: null, isIdentical: false, differing: 0, tests: family.tests, contrasts: family.contrasts };
  if (!values.length) return found;
  found.difference = mean(values);
  const test = signFlip(values);
  Object.assign(found, { low: test.low, high: test.high });
  if (values.length < 2) return found;
  const wins = mean(pairs.map((pair) => (Math.sign(pair) + 1) / 2));
  return Object.assign(found, { p: test.p, corrected: family.p ?? null, wins, g: hedges(values), isIdentical: pairs.every((pair) => pair === 0), differing: values.filter((value) => value !== 0).length });
}

function together(items, contrasts = 1) { // corrected p-values of those with two prompts or more; null for others
  const tested = items.filter((item) => item.byPrompt.size >= 2);
  const found = tested.length ? signFlipsTogether(tested.map((item) => item.byPrompt)) : { pValues: [], tests: [] };
  return items.map((item) => {
    const at = tested.indexOf(item);
    return { p: at < 0 ? null : found.pValues[at], tests: at < 0 ? 1 : found.tests[at], contrasts };
  });
}

const comparedCells = (item) => [item.pairs, item.prompts, item.difference, item.low, item.high, item.corrected, item.p, item.wins, item.g];

// Every level beside the baseline: Holm's method along one axis, one plan of tests in a grid

function analysisOf(part) {
  const units = paired(part.runs, (run) => run.cell);
  const others = part.runs.some((run) => run.cell === part.baseline) ? part.names.filter((name) => name !== part.baseline) : [];
  const cells = others.map((name) => ({ level: name, baseline: part.baseline, ...difference(units, name, part.baseline) }));
  const isGrid = part.axes.length > 1;
  const axes = isGrid ? part.axes.map((axis, index) => axisContrasts(part, axis, index)) : [];
  const rest = isGrid ? part.axes.flatMap((_, one) => part.axes.slice(one + 1).map((_unused, ahead) => additivity(part, one, one + 1 + ahead))) : [];
  const everything = [cells, ...axes.map(({ contrasts }) => contrasts), ...rest.map(({ contrasts }) => contrasts)];
  const families = isGrid ? together(everything.flat(), part.names.length - 1).map((family) => ({ ...family, tests: 1 })) : holmFamilies(cells);
  let at = 0;
  const take = (items) => items.map((item) => compared(item, families[at++], item.level, item.baseline));
  const comparisons = take(cells);
  return {
    comparisons,
    effects: axes.map(({ axis, baseline, contrasts }) => ({ axis, baseline, comparisons: take(contrasts) })),
    interactions: rest.map(({ axes: names, contrasts }) => ({ axes: names, prompts: contrasts[0].byPrompt.size, deviations: take(contrasts) })),
    contrasts: [cells, ...axes.map(({ contrasts }) => contrasts)],
  };
}

function holmFamilies(contrasts) {
  const tested = contrasts.filter((item) => item.byPrompt.size >= 2);
  const adjusted = holm(tested.map((item) => signFlip([...item.byPrompt.values()]).p));
  const count = Math.max(tested.length, 1);
  return contrasts.map((item) => ({ p: tested.includes(item) ? adjusted[tested.indexOf(item)] : null, tests: count, contrasts: count }));
}

function axisContrasts(part, axis, index) { // levels of an axis, averaged over the others
  const base = part.cells.find((cell) => cell.name === part.baseline).levels[index];
  const units = byAxis(part, index);
  const isThere = part.runs.some((run) => run.levels[index] === base);
  return { axis: axis.name, baseline: base, contrasts: isThere ? axis.levels.filter((level) => level !== base).map((level) => ({ level, baseline: base, ...difference(units, level, base) })) : [] };
}

function additivity(part, one, other) { // what the sum of two axes leaves over in each combination
  const [first, second] = [part.axes[one], part.axes[other]];
  const keyOf = (run) => `${run.levels[one]}\n${run.levels[other]}`;
  const keys = first.levels.flatMap((row) => second.levels.map((column) => `${row}\n${column}`));
  const units = paired(part.runs, keyOf, (run) => run.levels.filter((_, at) => at !== one && at !== other).join("\n"));
  const [rowCount, columnCount] = [first.levels.length, second.levels.length];
  const contrasts = first.levels.flatMap((row) => second.levels.map((column) => ({ level: `${row} x ${column}`, baseline: "the sum of both axes", ...contrast(units, keys.map((key) => {
    const [of, at] = key.split("\n");
    return [key, (of === row && at === column ? 1 : 0) - (of === row ? 1 / columnCount : 0) - (at === column ? 1 / rowCount : 0) + 1 / (rowCount * columnCount)];
  })) })));
  return { axes: [first.name, second.name], contrasts };
}

function baselineTable(part, column, { comparisons }) {
  const against = new Map(comparisons.map((item) => [item.level, item]));
  const rowsOf = part.names.map((name) => {
    const values = part.runs.filter((run) => run.cell === name);
    const means = new Map();
    for (const run of values) means.set(run.unit, [...(means.get(run.unit) ?? []), run.value]);
    const cells = against.has(name) ? comparedCells(against.get(name)) : COMPARED.map(() => null);
    return [name, values.length, mean([...means.values()].map(mean)), deviationOf(values.map((run) => run.value)), ...cells];
  });
  return { name: column, title: `${part.variable}, beside ${part.baseline}`, columns: [part.variable, "n", "mean", "sd", ...COMPARED], rows: rowsOf };
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
  const families = together(members, Math.max(tables.reduce((sum, table) => sum + table.levels.length - 1, 0), 1));
  const found = members.map((item, at) => compared(item, families[at], item.level, item.other));
  return tables.map((table) => ({
    variable: table.variable,
    levels: table.levels,
    comparisons: found.filter((_, index) => members[index].table === table),
    name: `${column}_pairs_${table.variable}`,
    title: `all pairs of ${table.variable}`,
    columns: ["level", "minus", ...COMPARED],
    rows: members.flatMap((item, index) => item.table === table ? [[item.level, item.other, ...comparedCells(found[index])]] : []),
  }));
}

// Groups

function groupsTable(part, by, column) {
  const isWithin = part.axes.some((axis) => axis.name === by);
  const at = part.axes.findIndex((axis) => axis.name === by);
  const rest = part.axes.filter((_, index) => index !== at);
  const restOf = (levels) => levels.filter((_, index) => index !== at).join(" x ");
  const ofUnits = isWithin ? null : groupsOfUnits(part, by);
  const groupOf = (run) => isWithin ? run.levels[at] : ofUnits.get(run.unit);
  const base = restOf(part.cells.find((cell) => cell.name === part.baseline).levels);
  const levels = [...new Set(part.cells.map((cell) => restOf(cell.levels)))];
  const names = isWithin ? part.axes[at].levels : [...new Set(ofUnits.values())];
  const units = new Map(names.map((group) => [group, paired(part.runs.filter((run) => groupOf(run) === group), (run) => restOf(run.levels))]));
  const members = names.filter((group) => units.get(group).length).flatMap((group) => {
    const known = new Set(units.get(group).flatMap((unit) => [...unit.values.keys()]));
    if (!known.has(base)) return [];
    return levels.filter((level) => level !== base && known.has(level)).map((level) => ({ group, level, ...difference(units.get(group), level, base) }));
  });
  const there = names.filter((group) => units.get(group).length);
  const families = together(members, Math.max(there.length * (levels.length - 1), 1));
  const found = members.map((item, index) => compared(item, families[index], item.level, base));
  const rowsOf = there.flatMap((group) => levels.map((level) => {
    const own = part.runs.filter((run) => groupOf(run) === group && restOf(run.levels) === level);
    const means = new Map();
    for (const run of own) means.set(run.unit, [...(means.get(run.unit) ?? []), run.value]);
    const index = members.findIndex((item) => item.group === group && item.level === level);
    const cells = index < 0 ? COMPARED.map(() => null) : comparedCells(found[index]);
    return [group, level, mean([...means.values()].map(mean)), ...cells];
  }));
  const variable = rest.map((axis) => axis.name).join(" x ");
  return {
    name: `${column}_by_${by}`,
    title: `${variable} by ${by}, beside ${base}`,
    columns: [by, variable, "mean", ...COMPARED],
    rows: rowsOf,
    by,
    variable,
    baseline: base,
    groups: there.map((group) => ({
      name: group,
      prompts: new Set(part.runs.filter((run) => groupOf(run) === group).map((run) => run.unit)).size,
      comparisons: found.filter((_, index) => members[index].group === group),
    })),
    ...disagreements(members, levels, isWithin, units, base),
  };
}

function groupsOfUnits(part, by) { // prompts of one text are in the group of the first of them
  const first = new Map();
  for (const run of part.finished) {
    const prompt = data.rows[data.run.row[run]][0];
    const [unit, { id }] = [unitOf(prompt), data.prompts[prompt]];
    if (!first.has(unit) || byCode(id, data.prompts[first.get(unit)].id) < 0) first.set(unit, prompt);
  }
  return new Map([...first].sort(([, one], [, other]) => one - other).map(([unit, prompt]) => [unit, asks.properties[by][data.prompts[prompt].id]]));
}

function disagreements(members, levels, isWithin, units, base) { // per level: p of "it is the same in all groups", and the ends
  const test = isWithin ? withinTest(members, levels, units, base) : betweenTest(members);
  const differs = levels.flatMap((level) => {
    const own = members.filter((item) => item.level === level && item.byPrompt.size);
    if (own.length < 2) return [];
    const amounts = own.map((item) => [item.group, mean([...item.byPrompt.values()])]).sort(([one, a], [other, b]) => a - b || byCode(one, other));
    return [{ level, p: test.pValues.get(level) ?? null, low: amounts[0], high: amounts.at(-1) }];
  });
  return { differs, isPossible: test.isPossible };
}

function withinTest(members, levels, units, base) { // every prompt is in every group
  const groups = [...new Set(members.map((item) => item.group))];
  const contrasts = levels.filter((level) => level !== base).flatMap((level) => groups.flatMap((one, at) => groups.slice(at + 1).map((other) => ({ level, ...acrossGroups(units.get(one), units.get(other), level, base) }))));
  const families = together(contrasts);
  const pValues = new Map();
  contrasts.forEach(({ level }, at) => { if (families[at].p !== null) pValues.set(level, Math.min(families[at].p, pValues.get(level) ?? 1)); });
  const isPossible = contrasts.some((item, at) => families[at].p !== null && smallestP(item.byPrompt.size) * families[at].tests <= ALPHA);
  return { pValues, isPossible };
}

function betweenTest(members) { // groups of different prompts, those with two or more
  const groups = [...new Set(members.filter((item) => item.byPrompt.size).map((item) => item.group))];
  const sizes = new Map(groups.map((group) => [group, Math.max(...members.filter((item) => item.group === group).map((item) => item.byPrompt.size))]));
  const counted = groups.filter((group) => sizes.get(group) >= 2);
  if (counted.length < 2) return { pValues: new Map(), isPossible: false };
  const prompts = counted.flatMap((group) => [...new Set(members.filter((item) => item.group === group).flatMap((item) => [...item.byPrompt.keys()]))].map((prompt) => ({ group, prompt })));
  prompts.sort((one, other) => byCode(one.prompt, other.prompt));
  const tested = [...new Set(members.filter((item) => item.byPrompt.size).map((item) => item.level))];
  const table = tested.map((level) => prompts.map(({ group, prompt }) => members.find((item) => item.group === group && item.level === level)?.byPrompt.get(prompt) ?? null));
  const pValues = groupsPValues(table, prompts.map(({ group }) => counted.indexOf(group)));
  const logDeals = counted.reduce((sum, group) => sum - logGamma(sizes.get(group) + 1), logGamma(counted.reduce((sum, group) => sum + sizes.get(group), 0) + 1));
  return { pValues: new Map(tested.map((level, index) => [level, pValues[index]])), isPossible: Math.max(Math.exp(-logDeals), 1e-4) <= ALPHA };
}

function acrossGroups(one, other, level, base) {
  const first = new Map(one.map((unit) => [unit.key, unit]));
  const both = other.filter((unit) => first.has(unit.key));
  const joined = both.map((unit) => ({ prompt: unit.prompt, values: new Map([...prefixed("a", first.get(unit.key).values), ...prefixed("b", unit.values)]) }));
  return contrast(joined, [[`b${level}`, 1], [`b${base}`, -1], [`a${level}`, -1], [`a${base}`, 1]]);
}

const prefixed = (prefix, values) => [...values].map(([level, value]) => [prefix + level, value]);

// Trends and spreads

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
  const families = together(contrasts);
  const found = contrasts.map((item, at) => compared(item, families[at], name, ""));
  const isThere = (level) => part.runs.some((run) => run.levels[index] === level);
  const slopes = [...contrasts[0].byPrompt].sort(([, one], [, other]) => one - other);
  return {
    name: `${column}_slopes_${name}`, title: `slope along ${name}`, columns: ["prompt", "slope"], rows: slopes, axis: name,
    slope: found[0], bend: found[1] ?? null,
    levels: { filled: part.axes[index].levels.filter(isThere), empty: part.axes[index].levels.filter((level) => !isThere(level)) },
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

function grouped(items, keyOf) {
  const found = new Map();
  for (const item of items) {
    const key = keyOf(item);
    (found.get(key) ?? found.set(key, []).get(key)).push(item);
  }
  return found;
}
