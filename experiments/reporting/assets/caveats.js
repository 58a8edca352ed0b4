// What a reader must know beside an answer: margins, what is missing, shapes that tests don't fit, and how much was asked; the
// sentences of experiments/stats/margins.py, findings.py, difference_shapes.py and questions/answering.py.

const MARGIN_ALPHA = 2 * ALPHA;

// Against the margin that does not matter: two one-sided tests of each level, those of a grid's axes among them

function marginAnswers(measure, families) {
  const tested = families.flatMap((items, place) => items.filter((item) => item.byPrompt.size > 1).map((item) => ({ place, ...item, values: [...item.byPrompt.values()] })));
  const sides = measure.margin === null ? [] : tested.map(({ values }) => sidesAgainst(values, measure.margin));
  const alone = sides.map((pair) => Math.max(...pair));
  const asGood = holm(alone);
  const worse = measure.direction === "none" ? null : holm(sides.map((pair) => pair[measure.direction === "higher" ? 0 : 1]));
  return families.map((_, place) => {
    const own = tested.filter((item) => item.place === place);
    if (!own.length) return null;
    const sizes = own.map(({ values }) => couldShow(values, tested.length));
    const standings = measure.margin === null ? [] : tested.flatMap((item, at) => {
      if (item.place !== place) return [];
      const { low, high } = signFlip(item.values, MARGIN_ALPHA);
      return [{ level: item.level, prompts: item.values.length, low, high, alone: alone[at], asGood: asGood[at] <= ALPHA, notWorse: worse !== null && worse[at] <= ALPHA }];
    });
    return { standings, couldShow: sizes.includes(null) ? null : Math.max(...sizes), leastPrompts: leastPrompts(tested.length / 2) };
  });
}

function sidesAgainst(values, margin) { // p of "above minus the margin" and of "below the margin"
  return [values.map((value) => value + margin), values.map((value) => margin - value)].map((shifted) => {
    const length = Math.sqrt(shifted.reduce((sum, value) => sum + value ** 2, 0)) || 1;
    const units = shifted.map((value) => value / length);
    const least = units.reduce((sum, value) => sum + value, 0) - TOLERANCE;
    const { count, seen } = signPatterns(units.length);
    const asFar = flippedSums(units).reduce((sum, value) => sum + (value >= least ? 1 : 0) + (-value >= least ? 1 : 0), 0);
    return (asFar + seen) / (2 * (count + seen));
  });
}

function couldShow(values, contrasts) { // the margin that 4 in 5 such experiments show where nothing differs
  const deviation = deviationOf(values);
  if (deviation <= slackOf(values)) return null;
  const effect = detectableEffect(values.length, { alpha: MARGIN_ALPHA / contrasts, estimatedFrom: values.length }, (1 + POWER) / 2);
  return Number.isFinite(effect) ? effect * deviation : null;
}

const plainAmount = (value, measure) => numberText(value, decimalsFor(value)) + unitText(measure);

function withoutMargin(measure, answer, comparisons) {
  const untold = comparisons.filter((item) => canBeFound(item) && !isFound(item) && !item.isIdentical);
  if (answer.couldShow === null || !untold.length) return null;
  const equal = measure.direction === "none" ? "equal" : measure.isTime ? "equally fast" : "equally good";
  return `That does not show them ${equal}: where nothing differs, 4 in 5 such experiments would show a margin of ${plainAmount(answer.couldShow, measure)}; --margin ${measure.column}=X asks about yours.`;
}

function marginSentence(measure, variable, baseline, answer) {
  const kindOf = (item) => item.asGood ? 0 : item.notWorse ? 1 : 2;
  const clauses = [];
  for (const kind of [0, 1, 2]) {
    const group = answer.standings.filter((item) => kindOf(item) === kind);
    for (const item of group.slice(0, MOST_AGAINST_MARGIN)) clauses.push(marginClause(measure, item, clauses.length ? "it" : quoted(baseline), kind));
    if (group.length > MOST_AGAINST_MARGIN) clauses.push(`${group.length - MOST_AGAINST_MARGIN} more likewise, see the table`);
  }
  return `${variable} ${clauses.join("; ")}${whatMarginTakes(measure, answer, answer.standings.filter((item) => kindOf(item) === 2))}.`;
}

function marginClause(measure, item, baseline, kind) {
  const [name, within] = [quoted(item.level), shortText(measure.margin, 6) + unitText(measure)];
  const isNeutral = measure.direction === "none";
  const as = isNeutral ? "equal to" : measure.isTime ? "as fast as" : "as good as";
  const said = [
    isNeutral ? `${name} differs from ${baseline} by less than ${within}` : `${name} is as ${measure.isTime ? "fast" : "good"} as ${baseline} within ${within}`,
    `${name} is not ${measure.isTime ? "slower" : "worse"} than ${baseline} by more than ${within}`,
    `${name} is not shown to be ${as} ${baseline} within ${within}`,
  ][kind];
  if (item.low === null) return `${said} (${item.prompts} prompts)`;
  const decimals = Math.max(decimalsFor((item.high - item.low) / 2), decimalsFor(measure.margin));
  const corrected = item.alone <= ALPHA && kind === 2 ? ", not after correction" : "";
  return `${said} (90 % interval ${numberText(item.low, decimals)} to ${numberText(item.high, decimals)}${corrected}, ${item.prompts} prompts)`;
}

function whatMarginTakes(measure, answer, unshown) {
  const open = unshown.filter(({ low, high }) => low === null || (low < measure.margin && high > -measure.margin));
  if (!open.length) return "";
  if (Math.max(...open.map(({ prompts }) => prompts)) < answer.leastPrompts) return `; whatever the margin, that takes ${atLeast(answer.leastPrompts, " prompts")}`;
  return answer.couldShow === null ? "" : `; where nothing differs, 4 in 5 such experiments would show a margin of ${plainAmount(answer.couldShow, measure)}`;
}

// Notes under one measure

const turnNotes = (measure, part) => measure.isTime && !part.tookTurns ? [asks.times.outOfTurn] : [];

function notesOf(measure, part, comparisons) {
  return [...missingNotes(measure, part), ...pairNotes(measure, part, comparisons), ...shapeNotes(comparisons), ...measure.judge, ...flagNotes(measure, part), ...turnNotes(measure, part), ...measure.after, ...examinedNotes(measure)];
}

function examinedNotes({ column, examined: [first, count] }) { // what examinations of the judge found stands in the verdict
  const notes = [...document.querySelectorAll("dd[data-column] > p.note")].filter((note) => note.parentElement.dataset.column === column);
  return notes.slice(first, first + count).map((note) => note.textContent);
}

function missingNotes(measure, part) {
  const all = part.names.map((name) => ({ name, has: part.runs.filter((run) => run.cell === name).length, planned: part.planned.get(name) ?? 0 }));
  const areAlike = new Set(all.map(({ has, planned }) => planned - has)).size === 1;
  if (measure.isCounted || (measure.isTime && areAlike)) return []; // by intention: votes, and times that may not be compared
  const short = all.filter(({ has, planned }) => has < planned).map(({ name, has, planned }) => `${name} has ${has} of ${planned}`);
  return short.length ? [`Not every planned run has this number: ${short.join(", ")}. What is missing need not be like the rest.`] : [];
}

function pairNotes(measure, part, comparisons) {
  const notes = [];
  const without = part.finished.length - part.runs.length;
  if (without > 0 && !measure.isCounted) notes.push(`${without} of ${part.finished.length} pictures have no ${measure.title} and are left out.`);
  const most = Math.max(0, ...comparisons.map((item) => item.pairs));
  const short = comparisons.filter((item) => item.pairs < most).map((item) => `${item.level} (${item.pairs} of ${most})`);
  if (short.length) notes.push(`Compared on fewer pairs, those that both levels have: ${listed(short, MOST_IN_NOTES)}.`);
  const same = comparisons.filter((item) => item.isIdentical).map((item) => item.level);
  if (same.length && same.length < comparisons.length) notes.push(`Exactly the same number as ${comparisons[0].baseline} in every pair: ${listed(same, MOST_IN_NOTES)}.`);
  return notes;
}

function flagNotes(measure, part) {
  const there = new Set(part.finished);
  return measure.flags.flatMap(({ meaning, runs }) => {
    const count = runs.filter((run) => there.has(run)).length;
    return count ? [`${count} of ${part.finished.length} pictures: ${meaning}.`] : [];
  });
}

function shapeNotes(comparisons) {
  const [findings, skewed, tied] = [[], [], []];
  for (const item of comparisons) {
    if (item.p === null || !canBeFound(item)) continue;
    const isTied = 2 * item.differing < item.prompts;
    if (!isTied && Math.abs(skewness(item.values)) < STRONG_SKEW) continue;
    const told = `(${item.differing} of ${item.prompts} do)`;
    const sign = shortText(signTest(item.values), 2);
    if (isFound(item)) {
      findings.push(isTied
        ? `Most prompts don't differ at ${item.level} ${told}: the interval may promise more than it holds. The sign test, which counts only whether prompts got better or worse, gives p ${sign}.`
        : `The differences of ${item.level} are strongly skewed: p and interval may promise more than they hold. The sign test, which skew doesn't harm but which asks about the median, gives p ${sign}.`);
    } else if (isTied) tied.push(`${item.level} ${told}`);
    else skewed.push(item.level);
  }
  if (skewed.length) findings.push(`Strongly skewed differences: ${listed(skewed, MOST_IN_NOTES)}. p and interval may promise more than they hold.`);
  if (tied.length) findings.push(`Most prompts don't differ: ${listed(tied, MOST_IN_NOTES)}. Interval and detects rest on the few that do.`);
  return findings;
}

function skewness(values) {
  const middle = mean(values);
  const centred = values.map((value) => value - middle);
  const variance = mean(centred.map((value) => value ** 2));
  return variance <= slackOf(values) ** 2 ? 0 : mean(centred.map((value) => value ** 3)) / variance ** 1.5;
}

function signTest(values) {
  const [above, beneath] = [values.filter((value) => value > 0).length, values.filter((value) => value < 0).length];
  const count = above + beneath;
  let share = 0;
  for (let at = 0; at <= Math.min(above, beneath); at += 1) share += Math.exp(logGamma(count + 1) - logGamma(at + 1) - logGamma(count - at + 1) - count * Math.LN2);
  return Math.min(1, 2 * share);
}

// Notes on all of it: which measure counts, how much is asked, which prompts are one

function partNotes(question, part, askedBefore) {
  return [
    ...(part.isElsewhere && asks.distances.length ? [`Distances (${asks.distances.join(", ")}) are from ${data.levels[data.baseline]}, so they are left out beside another baseline.`] : []),
    ...(part.isWhole ? asks.leftOut : []), ...measuresNotes(question), ...doublesNote(part), ...(part.timeNote ? [part.timeNote] : []), ...asks.whole, ...askedNote(askedBefore),
  ];
}

function measuresNotes(question) {
  const tested = asks.measures.map((measure, at) => {
    const part = partOf(question, at);
    const units = paired(part.runs, (run) => run.cell);
    const others = part.names.filter((name) => name !== part.baseline);
    return { measure, comparisons: others.filter((name) => difference(units, name, part.baseline).byPrompt.size >= 2).length };
  }).filter(({ measure, comparisons }) => comparisons && (measure.isMain || measure.column === asks.primary.column));
  const others = tested.filter(({ measure }) => measure.column !== asks.primary.column);
  const notes = [];
  if (tested.length > 1) {
    const rest = asks.primary.column === null ? "one of them" : "one of the others, which are exploratory";
    const comparisons = tested.reduce((sum, item) => sum + item.comparisons, 0);
    const advice = asks.primary.column === null ? " --primary MEASURE marks the one that counts, best before the first picture." : "";
    notes.push(`${tested.length} questions were asked, one a measure, with ${comparisons} comparisons: where nothing differs, about ${shareText(1 - (1 - ALPHA) ** others.length)} of experiments claim something for ${rest}.${advice}`);
  }
  return asks.primary.column === null ? notes : [asks.primary.sentence, ...notes];
}

function doublesNote(part) {
  const there = [...new Set(part.finished.map((run) => data.prompts[data.rows[data.run.row[run]][0]].id))].sort(byCode);
  const first = new Map();
  const doubles = there.flatMap((name) => {
    const text = asks.alike[name] ?? name;
    if (!first.has(text)) return first.set(text, name) && [];
    return [`${name} with ${first.get(text)}`];
  });
  if (!doubles.length) return [];
  return [`${doubles.length} prompt${doubles.length > 1 ? "s repeat" : " repeats"} the text of another and count${doubles.length === 1 ? "s" : ""} with it as one: ${listed(doubles, MOST_IN_NOTES)}.`];
}

function askedNote(before) { // this question beside the others that somebody asked of these results
  if (!before.length) return [];
  return [`With this one, ${before.length + 1} questions have been asked of these results; each has its own 5 %, so where nothing differs, about ${shareText(1 - (1 - ALPHA) ** (before.length + 1))} of those who ask so many find something.`];
}
