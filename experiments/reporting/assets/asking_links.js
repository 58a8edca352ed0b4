// Numbers in the sentences that answer a question: each leads to the pairs behind it, the largest difference first.

const GROUP_AMOUNTS = /([+-]?\d[\d.]*)(?: \S+)? for (“[^”]+”|\S+?)(?= and |; | \(p|$)/g;
const SLOPE = /, by ([\d.]+)/;
const CORRELATION = /\(correlation (-?[\d.]+)/;

// Pairs of a part: a level with another, within prompt, seed and what else is held fixed
function pairsBetween(part, level, base, inGroup = () => true, isLevel = (run, name) => [run.cell, ...run.levels].includes(name)) {
  const own = part.runs.filter(inGroup);
  const restOf = (run, name) => run.levels.filter((value) => value !== name).join("\n");
  const bases = new Map(own.filter((run) => isLevel(run, base)).map((run) => [JSON.stringify([run.prompt, run.seed, run.cell === base ? "" : restOf(run, base)]), run]));
  return own.filter((run) => isLevel(run, level)).flatMap((run) => {
    const other = bases.get(JSON.stringify([run.prompt, run.seed, run.cell === level ? "" : restOf(run, level)]));
    return other === undefined ? [] : [{ run: run.run, base: other.run, change: run.value - other.value }];
  });
}

function pairsOfGroup(part, by, group, level, base) { // the group is of prompts, or a level of an axis
  const at = part.axes.findIndex((axis) => axis.name === by);
  const ofUnits = at < 0 ? groupsOfUnits(part, by) : null;
  const inGroup = (run) => (ofUnits ? ofUnits.get(run.unit) : run.levels[at]) === group;
  const isLevel = (run, name) => at < 0 ? run.cell === name : run.levels.filter((_, index) => index !== at).join(" x ") === name;
  return pairsBetween(part, level, base, inGroup, isLevel);
}

function pairsAlong(part, name, unit) { // pictures along an axis, each beside that of the lowest number; of one prompt, or of all
  const at = part.axes.findIndex((axis) => axis.name === name);
  const { levels } = part.axes[at];
  const lowest = levels.reduce((one, other) => Number(other) < Number(one) ? other : one);
  const keyOf = (run) => JSON.stringify([run.prompt, run.seed, run.levels.filter((_, index) => index !== at)]);
  const own = unit === undefined ? part.runs : part.runs.filter((run) => run.unit === unit);
  const bases = new Map(own.filter((run) => run.levels[at] === lowest).map((run) => [keyOf(run), run]));
  return own.filter((run) => run.levels[at] !== lowest && bases.has(keyOf(run)))
    .map((run) => ({ run: run.run, base: bases.get(keyOf(run)).run, change: run.value - bases.get(keyOf(run)).value }));
}

function pairsOfBoth(question, pair) { // pictures beside the baseline's where both measures have a number
  const besideBaseline = ({ runs, baseline }) => {
    const bases = new Map(runs.filter(({ cell }) => cell === baseline).map((run) => [JSON.stringify([run.prompt, run.seed]), run]));
    return runs.filter(({ cell }) => cell !== baseline).flatMap((run) => {
      const other = bases.get(JSON.stringify([run.prompt, run.seed]));
      return other === undefined ? [] : [{ run: run.run, base: other.run, change: run.value - other.value }];
    });
  };
  const also = new Map(besideBaseline(partOf(question, pair.second)).map(({ run, change }) => [run, change]));
  const { place, title } = asks.measures[pair.second];
  return besideBaseline(partOf(question, pair.first)).filter(({ run }) => also.has(run))
    .map((item) => ({ ...item, also: `${title} ${formatted(also.get(item.run), place, true)} ${data.measures[place].unit}`.trim() }));
}

// A sentence with links: `parts` are where a number stands in it and what opens there

function linkedSentence(text, parts) {
  const line = element("p", {});
  let end = 0;
  for (const { start, length, open } of [...parts].sort((one, other) => one.start - other.start)) {
    const place = element("span", { class: "claim asked-row leads" }, leadingButton(text.slice(start, start + length)));
    const [sign] = text.slice(start + length).match(/^[,;.]?/); // stays with its number
    place.append(sign);
    place.showBehind = open;
    line.append(text.slice(end, start), place);
    end = start + length + sign.length;
  }
  line.append(text.slice(end));
  return line;
}

const within = (found, number) => ({ start: found.index + found[0].lastIndexOf(number), length: number.length });

function claimLinks(text, names, open) {
  return amountsIn(text, names).map(({ name, start, length }) => ({ start, length, open: (opener) => open(name, opener) }));
}

function verdictLine(text, part, measure) {
  const averaged = text.match(/^Averaged over the other axes: (.+?) (?=[“\d-])/);
  const axis = averaged ? part.axes.find(({ name }) => name === averaged[1]) : null;
  const at = part.axes.indexOf(axis);
  const base = axis ? part.cells.find(({ name }) => name === part.baseline).levels[at] : part.baseline;
  const isLevel = (run, name) => axis ? run.levels[at] === name : run.cell === name;
  const told = axis ? `${axis.name} ` : "";
  return linkedSentence(text, claimLinks(text, axis ? axis.levels : part.names, (level, opener) => listBehind(pairsBetween(part, level, base, undefined, isLevel), measure.place, `${told}${level} minus ${base}`, opener)));
}

function groupLine(text, part, { by, baseline, groups, rows: rowsOf }, measure) {
  const levels = [...new Set(rowsOf.map(([, level]) => level))];
  const openFor = (group) => (level, opener) => listBehind(pairsOfGroup(part, by, group, level, baseline), measure.place, `${level} minus ${baseline}, ${by} ${group}`, opener);
  const group = groups.find(({ name }) => text.startsWith(`${by} ${quoted(name)}: `));
  if (group) {
    const skipped = `${by} ${quoted(group.name)}: `.length;
    return linkedSentence(text, claimLinks(text.slice(skipped), levels, openFor(group.name)).map((link) => ({ ...link, start: link.start + skipped })));
  }
  const ofGroups = new Map(groups.map(({ name }) => [quoted(name), name]));
  const links = [...text.matchAll(GROUP_AMOUNTS)].flatMap((found) => {
    const before = text.slice(0, found.index);
    const level = levels.filter((name) => before.includes(` ${quoted(name)} is `)).reduce((one, name) => one === null || before.lastIndexOf(` ${quoted(name)} is `) > before.lastIndexOf(` ${quoted(one)} is `) ? name : one, null);
    if (level === null || !ofGroups.has(found[2])) return [];
    return [{ start: found.index, length: found[1].length, open: (opener) => openFor(ofGroups.get(found[2]))(level, opener) }];
  });
  return linkedSentence(text, links);
}

function trendLine(text, part, { axis }, measure) {
  const found = text.match(SLOPE);
  if (!found) return linkedSentence(text, []);
  return linkedSentence(text, [{ ...within(found, found[1]), open: (opener) => listBehind(pairsAlong(part, axis), measure.place, `along ${axis} beside its lowest level`, opener) }]);
}

function openCorrelation(question, pair, opener) {
  const { place } = asks.measures[pair.first];
  listBehind(pairsOfBoth(question, pair), place, `beside ${partOf(question, pair.first).baseline}, with ${asks.measures[pair.second].title}`, opener);
}

function correlationLine(text, question, pair) {
  const found = text.match(CORRELATION);
  return linkedSentence(text, found ? [{ ...within(found, found[1]), open: (opener) => openCorrelation(question, pair, opener) }] : []);
}
