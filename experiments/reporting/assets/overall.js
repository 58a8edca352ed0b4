// One sentence over all measures of a part, as experiments/stats/overall.py says it, to the letter; a test compares them.

const MOST_LEVELS_TOGETHER = 6;
const MOST_TITLES = 4;
const NOTABLE_TIME = 0.1; // share of the baseline's time from which a difference is told beside scores
const FOUND = ["better", "worse"];

function overallSentence(question) { // empty where a measure that the command has is not in the page, or nothing is tested
  if (!asks.overall) return "";
  const all = asks.measures.flatMap((measure, at) => {
    if (!measure.isMain) return [];
    const { part, analysis } = analysed(question, at);
    if (!part.runs.length) return [];
    return [{ measure, part, analysis, margins: marginAnswers(measure, analysis.contrasts) }];
  });
  const tested = all.map(({ measure, part, analysis, margins }) => ({ ...findingsOf(measure, analysis.comparisons, margins[0]), slight: measure.isTime ? slightTimes(part, analysis.comparisons) : new Set() })).filter(({ states }) => states.size);
  if (!tested.length) return untestedSentence(all);
  const [{ part }] = all;
  const baseline = `${part.variable} ${quoted(part.baseline)}`;
  const primary = tested.find(({ measure }) => measure.column === asks.primary.column) ?? null;
  const sentence = [...ofScores(tested, primary, baseline), ...ofAxes(all), ...ofOthers(tested, primary)].join("; ");
  return `${sentence[0].toUpperCase()}${sentence.slice(1)}.`;
}

const isScore = (measure) => measure.direction !== "none" && !measure.isTime;

function findingsOf(measure, comparisons, margin) { // level to what its test says
  const asGood = new Set((margin?.standings ?? []).filter((item) => item.asGood).map(({ level }) => level));
  const tested = comparisons.filter((item) => item.corrected !== null && item.difference !== null);
  return { measure, states: new Map(tested.map((item) => [item.level, stateOf(measure, item, asGood.has(item.level))])), prompts: Math.max(0, ...tested.map(({ prompts }) => prompts)) };
}

function stateOf(measure, item, isAsGood) {
  if (isFound(item)) return gainOf(measure, item) > 0 ? "better" : "worse";
  if (isAsGood) return "as good";
  return canBeFound(item) ? "open" : "hopeless";
}

const levelsIn = ({ states }, ...wanted) => [...states].filter(([, state]) => wanted.includes(state)).map(([level]) => level);

function andText(names, most = MOST_TITLES) {
  if (names.length > most) return listed(names, most);
  return names.length === 1 ? names[0] : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

const levelsText = (levels) => andText(levels.map(quoted), MOST_LEVELS_TOGETHER);
const titlesOf = (items) => items.map(({ measure }) => measure.title);

function untestedSentence(all) {
  const compared = all.filter(({ measure }) => !measure.isTime).flatMap(({ analysis }) => analysis.comparisons.filter((item) => item.pairs));
  if (!compared.length || Math.max(...compared.map(({ prompts }) => prompts)) > 1) return "";
  return "With one prompt nothing can be shown by any measure: it does not say how the next would differ.";
}

function ofScores(tested, primary, baseline) { // the measure that counts first
  const scores = tested.filter(({ measure }) => isScore(measure));
  if (primary !== null && !isScore(primary.measure)) return [`by ${primary.measure.title}, which counts, ${ofAnotherKind(primary, baseline)}`, ...togetherClauses(scores, baseline)];
  if (primary === null || scores.length === 1) {
    const clauses = togetherClauses(scores, baseline);
    return clauses.length ? clauses : [`no score compares any level with ${baseline} yet`];
  }
  const others = scores.filter((item) => item !== primary).map((item) => `${item.measure.title} ${besidePrimary(primary, item)}`);
  return [`by ${primary.measure.title}, which counts, ${clausesByState([primary], baseline).join("; ")}`, `exploratory: ${listed(others, MOST_TITLES)}`];
}

function togetherClauses(scores, baseline) {
  const clauses = clausesByState(scores, baseline);
  if (!clauses.length) return [];
  const titles = andText(titlesOf(scores));
  const beginning = scores.length === 1 ? `by ${titles}, the only score, ` : `over ${titles}: `;
  return [beginning + clauses[0], ...clauses.slice(1)];
}

function clausesByState(scores, baseline, onlyFound = false) { // one for each group of levels of which every score says the same
  const levels = [...new Set(scores.flatMap(({ states }) => [...states.keys()]))];
  const plain = (state) => state === "hopeless" ? "open" : state;
  const groups = [...grouped(levels.map((level) => ({ level, states: scores.map(({ states }) => plain(states.get(level) ?? "open")) })), ({ states }) => states.join("\n")).values()]
    .map((items) => ({ states: items[0].states, levels: items.map(({ level }) => level) }));
  const isTold = ({ states }) => states.some((state) => state !== "open");
  const rank = ({ states }) => [FOUND.every((state) => states.includes(state)), states.includes("better"), states.includes("worse")].reduce((sum, is) => 2 * sum + (is ? 0 : 1), 0);
  const told = groups.filter(isTold).sort((one, other) => rank(one) - rank(other));
  const clauses = told.map((group, at) => groupClause(scores, group, at ? "it" : baseline));
  const rest = groups.filter((group) => !isTold(group)).flatMap((group) => group.levels);
  if (rest.length && !onlyFound) clauses.push(nothingClause(scores, rest, baseline, !told.length));
  return clauses;
}

function groupClause(scores, { states, levels }, baseline) {
  const by = (wanted) => scores.filter((_, at) => states[at] === wanted).map(({ measure }) => measure.title);
  const [better, worse, asGood, open] = ["better", "worse", "as good", "open"].map(by);
  const [named, isOne] = [levelsText(levels), levels.length === 1];
  if (better.length && worse.length) return `the scores contradict each other about ${named}, better than ${baseline} by ${andText(better)}, worse by ${andText(worse)}`;
  const verbs = [[`beat${isOne ? "s" : ""}`, better], [`lose${isOne ? "s" : ""} to`, worse], [`${isOne ? "is" : "are"} as good as`, asGood]].filter(([, titles]) => titles.length);
  const [[verb, titles], ...further] = verbs;
  const first = `${named} ${verb} ${baseline}${scores.length === 1 ? "" : ` by ${allOf(titles, scores)}`}`;
  return first + further.map(([also, others]) => `, ${also} it by ${andText(others)}`).join("") + (open.length ? `, and can't be told apart from it by ${andText(open)}` : "");
}

function allOf(titles, scores) {
  if (titles.length < scores.length) return andText(titles);
  return scores.length === 2 ? "both" : `all ${scores.length}`;
}

function nothingClause(scores, levels, baseline, areAll) {
  const [whom, isAny] = [areAll ? baseline : "it", areAll && levels.length > 1];
  const clause = scores.length === 1
    ? `${isAny ? "no level can" : `${levelsText(levels)} can't`} be told apart from ${whom}`
    : `no score tells ${isAny ? "any level" : levelsText(levels)} from ${whom}`;
  if (scores.some(({ states }) => levels.some((level) => (states.get(level) ?? "hopeless") !== "hopeless"))) return clause;
  return `${clause}, and with ${Math.max(...scores.map(({ prompts }) => prompts))} prompts no difference could be shown, however large`;
}

function besidePrimary(primary, other) { // how an exploratory score stands to the one that counts
  const found = levelsIn(other, ...FOUND);
  const same = found.filter((level) => primary.states.get(level) === other.states.get(level));
  const against = found.filter((level) => !same.includes(level) && FOUND.includes(primary.states.get(level)));
  const parts = [];
  if (against.length) parts.push(`contradicts it about ${levelsText(against)}`);
  if (same.length) parts.push(same.length === levelsIn(primary, ...FOUND).length ? "agrees" : `agrees about ${levelsText(same)}`);
  for (const state of FOUND) {
    const alone = found.filter((level) => !same.includes(level) && !against.includes(level) && other.states.get(level) === state);
    if (alone.length) parts.push(`alone finds ${levelsText(alone)} ${state}`);
  }
  return parts.join(" and ") || "finds no difference";
}

function ofAxes(all) { // averaged over the other axes of a grid, where scores find something
  const scores = all.filter(({ measure }) => isScore(measure));
  const axes = [...new Set(scores.flatMap(({ analysis }) => analysis.effects.map(({ axis }) => axis)))];
  return axes.flatMap((name) => {
    const effects = scores.flatMap(({ measure, analysis, margins }) => analysis.effects.flatMap(({ axis, baseline, comparisons }, at) => axis === name ? [{ baseline, found: findingsOf(measure, comparisons, margins[at + 1]) }] : []));
    return clausesByState(effects.map(({ found }) => found), `${name} ${quoted(effects[0].baseline)}`, true).map((clause) => `averaged over the other axes, ${clause}`);
  });
}

function ofOthers(tested, primary) { // the time, and measures of which no direction is better
  const others = tested.filter((item) => !isScore(item.measure) && item !== primary).map((item) => ({ ...item, states: new Map([...item.states].filter(([level]) => !item.slight.has(level))) }));
  return others.filter((item) => levelsIn(item, ...FOUND).length).map((item) => `by ${item.measure.title} ${ofAnotherKind(item, "it")}`);
}

function slightTimes({ runs, baseline }, comparisons) { // levels whose time differs from the baseline's by little
  const usual = mean([...grouped(runs.filter((run) => run.cell === baseline), (run) => run.unit).values()].map((own) => mean(own.map(({ value }) => value))));
  return new Set(comparisons.filter(({ difference }) => difference !== null && Math.abs(difference) < NOTABLE_TIME * usual).map(({ level }) => level));
}

function ofAnotherKind(item, baseline) {
  const words = item.measure.isTime ? { better: "faster", worse: "slower" } : { better: "higher", worse: "lower" };
  const parts = FOUND.flatMap((state) => {
    const levels = levelsIn(item, state);
    return levels.length ? [`${levelsText(levels)} ${levels.length === 1 ? "is" : "are"} ${words[state]} than ${baseline}`] : [];
  });
  return parts.join(" and ") || `no level can be told apart from ${baseline}`;
}
