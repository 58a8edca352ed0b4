// What can be said of an answer: the sentences of experiments/stats/verdict.py, margin_sentences.py, difference_shapes.py,
// findings.py and questions/sentences.py, to the letter; a test compares them.

const MOST_LEVELS_NAMED = 3;
const MOST_IN_NOTES = 5;
const MOST_AGAINST_MARGIN = 6;
const STRONG_SKEW = 1.5;

const listed = (names, most) => names.slice(0, most).join(", ") + (names.length > most ? ` and ${names.length - most} more` : "");

function decimalsFor(half) {
  if (!Number.isFinite(half) || half <= 0) return 3;
  const exponent = Math.floor(Math.log10(half));
  return Math.min(Math.max((half / 10 ** exponent < 3 ? 1 : 0) - exponent, 0), 6);
}

function rounded(value, decimals) { // as Python: what lies in the middle goes to the even neighbour
  const doubled = value * 2 ** (decimals + 1);
  if (Number.isInteger(doubled) && Math.abs(doubled % 2) === 1) {
    const below = Math.floor(value * 10 ** decimals);
    return ((below % 2 ? below + 1 : below) / 10 ** decimals).toFixed(decimals);
  }
  return value.toFixed(decimals);
}

function numberText(value, decimals) { // no minus sign before zero
  const text = rounded(value, decimals);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

const pText = (p) => p < 0.001 ? "<0.001" : rounded(p, p < 0.1 ? 3 : 2);
const leastShown = (decimals) => numberText(10 ** -decimals, decimals);
const shareText = (share) => `${rounded(100 * share, 0)} %`;
const unitText = (measure) => measure.unit ? ` ${measure.unit}` : "";

function amountText(value, decimals) {
  const text = numberText(value, decimals);
  return value === 0 || Number(text) ? text : `less than ${leastShown(decimals)}`;
}

function shortText(value, digits) { // `%.2g`
  const exponent = value === 0 ? 0 : Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
  const [head, power] = value.toExponential(digits - 1).split("e");
  return `${Number(head)}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}

function estimateText({ mean: middle, low, high }, unit = "") { // mean and ends, rounded alike
  const decimals = decimalsFor(halfWidth(low, high));
  return [numberText(middle, decimals) + (unit ? ` ${unit}` : ""), low === null ? "" : numberText(low, decimals), low === null ? "" : numberText(high, decimals)];
}

function halfWidth(low, high) {
  if (low === null || high === null) return 0;
  const width = (high - low) / 2;
  return width > 1e-9 * Math.max(Math.abs(low), Math.abs(high)) ? width : 0;
}

const canBeFound = (item) => smallestP(item.differing) * item.tests <= ALPHA;
const isFound = (item) => item.corrected !== null && item.corrected <= ALPHA;

function rangeText(counts) {
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return least === most ? `${most}` : `${least} to ${most}`;
}

// A level beside the baseline

function verbsOf(measure) {
  if (measure.isTime) return ["is faster than", "is slower than"];
  return measure.direction === "none" ? ["is higher than", "is lower than"] : ["beats", "loses to"];
}

const gainOf = (measure, item) => measure.direction === "lower" ? -item.difference : item.difference;

function comparisonSentence(measure, variable, baseline, comparisons) {
  const there = comparisons.filter((item) => item.pairs);
  const named = `${variable} ${quoted(baseline)}`;
  if (!there.length) return `Nothing can be compared with ${named}: no other level shares a scored prompt and seed with it.`;
  if (Math.max(...there.map((item) => item.prompts)) < 2) return `Only one prompt: no interval and no test, since one prompt does not say how the next would differ${tendency(measure, there)}.`;
  if (there.every((item) => item.isIdentical)) return `Every level gave exactly the same numbers as ${named}.`;
  const found = there.filter(isFound).sort((one, other) => gainOf(measure, other) - gainOf(measure, one));
  if (!found.length) return nothingFound(measure, variable, baseline, there);
  const clauses = [`${variable} ${foundClause(measure, found[0], quoted(baseline))}`, ...found.slice(1, MOST_LEVELS_NAMED).map((item) => foundClause(measure, item, "it"))];
  const more = found.length - MOST_LEVELS_NAMED;
  if (more > 0) clauses.push(`${more} more ${more === 1 ? "differs" : "differ"} from it, see the table`);
  return `${[...clauses, ...restClauses(there.filter((item) => !isFound(item)), there.length === comparisons.length)].join("; ")}.`;
}

function foundClause(measure, item, baseline) {
  const sign = item.difference < 0 ? -1 : 1;
  const [low, high] = [sign * item.low, sign * item.high].sort((one, other) => one - other);
  const named = `${quoted(item.level)} ${verbsOf(measure)[gainOf(measure, item) > 0 ? 0 : 1]} ${baseline} by`;
  const [amount, from, to] = estimateText({ mean: Math.abs(item.difference), low, high }, measure.unit);
  return isNothing(amount) ? `${named} less than ${leastShown((amount.split(" ")[0].split(".")[1] ?? "").length)}${unitText(measure)}` : `${named} ${amount}, 95 % interval ${from} to ${to}`;
}

const isNothing = (amount) => Number(amount.split(" ")[0]) === 0;

function restClauses(rest, areAll) {
  const [open, hopeless] = [rest.filter(canBeFound), rest.filter((item) => !canBeFound(item))];
  const who = open.length && rest.length === 1 ? quoted(open[0].level) : areAll ? "the others" : "the others that have numbers";
  return [...(open.length ? [`${who} can't be told apart from it with ${rangeText(open.map((item) => item.prompts))} prompts`] : []), ...hopelessClauses(hopeless)];
}

const hopelessClauses = (hopeless) => hopeless.length ? [`too little to show any difference, however large: ${listed(hopeless.map(whatItLacks), MOST_LEVELS_NAMED)}`] : [];

function whatItLacks({ level, prompts, differing }) {
  if (differing < prompts) return `${quoted(level)} (differs on ${differing} of ${prompts} prompts)`;
  return `${quoted(level)} (${prompts} prompt${prompts > 1 ? "s" : ""})`;
}

function tendency(measure, there) { // what was seen, without claiming it for other prompts
  const best = there.reduce((one, other) => gainOf(measure, other) > gainOf(measure, one) ? other : one);
  if (gainOf(measure, best) <= 0) return "";
  const amount = estimateText({ mean: Math.abs(best.difference), low: null, high: null }, measure.unit)[0];
  if (isNothing(amount)) return "";
  return `; on ${best.prompts === 1 ? "this one" : `these ${best.prompts}`}, the mean of ${quoted(best.level)} is ${amount} ${best.difference > 0 ? "above" : "below"} that of ${quoted(best.baseline)}`;
}

function nothingFound(measure, variable, baseline, there) {
  const [open, hopeless] = [there.filter(canBeFound), there.filter((item) => !canBeFound(item))];
  if (!open.length) return nothingPossible(measure, variable, baseline, there);
  const [who, whom] = there.length > 1 ? ["No level can", `${variable} ${quoted(baseline)}`] : [`${variable} ${quoted(open[0].level)} can't`, quoted(baseline)];
  const clauses = [`${who} be told apart from ${whom} with ${rangeText(open.map((item) => item.prompts))} prompts`];
  const sizes = open.map(detects).filter(Boolean);
  if (sizes.length) {
    const most = Math.max(...sizes.map(({ amount }) => amount));
    const half = Math.max(...sizes.map(({ forHalf }) => forHalf ?? 0));
    clauses.push(`4 in 5 such experiments would have found a difference of ${amountText(most, decimalsFor(most))}${unitText(measure)}${half ? `, half of that needs ${half} prompts` : ""}`);
  }
  return `${[...clauses, ...hopelessClauses(hopeless)].join("; ")}.`;
}

function detects({ values, contrasts }) { // what 4 in 5 such experiments find, and the prompts that find half of it
  const differing = values.filter((value) => value !== 0);
  if (differing.length < 2) return null;
  const given = { alpha: ALPHA / contrasts, estimatedFrom: differing.length, differing: differing.length / values.length };
  const effect = detectableEffect(values.length, given);
  return Number.isFinite(effect) ? { amount: effect * deviationOf(differing), forHalf: promptsForEffect(effect / 2, given) } : null;
}

function nothingPossible(measure, variable, baseline, there) {
  const prompts = Math.max(...there.map((item) => item.prompts));
  const { tests } = there[0];
  const beginning = `With ${prompts} prompts no difference from ${variable} ${quoted(baseline)} can be shown, however large`;
  const least = leastPrompts(tests);
  if (prompts >= least) return `${beginning}: ${there.slice(0, MOST_LEVELS_NAMED).map(whatItLacks).join(", ")}.`;
  const needed = !Number.isFinite(least) ? "it takes" : tests > 1 ? `${tests} comparisons need` : there.length === 1 ? "one comparison needs" : "it takes";
  return `${beginning}: ${needed} ${atLeast(least, " prompts")}${tendency(measure, there)}.`;
}

function interactionSentence({ axes, prompts, deviations }) {
  const names = axes.join(" and ");
  if (prompts < 2) return `Whether ${names} depend on each other can't be said: fewer than two prompts have every combination.`;
  if (prompts < leastPrompts(1)) return `Whether ${names} depend on each other can't be shown with ${prompts} prompts: it takes at least ${leastPrompts(1)}.`;
  const found = deviations.filter(isFound).sort((one, other) => one.corrected - other.corrected);
  if (!found.length) return `No sign that ${names} depend on each other, with ${prompts} prompts that have every combination.`;
  return `${names[0].toUpperCase()}${names.slice(1)} depend on each other: ${listed(found.map(({ level }) => level), MOST_LEVELS_NAMED)} differ from the sum of the two effects.`;
}

// The whole verdict on one measure of a part

function verdictSentences(measure, part, analysis) {
  const margins = marginAnswers(measure, analysis.contrasts);
  const ofMargin = margins[0] === null ? [] : measure.margin === null ? [withoutMargin(measure, margins[0], analysis.comparisons)] : [marginSentence(measure, part.variable, part.baseline, margins[0])];
  return [
    comparisonSentence(measure, part.variable, part.baseline, analysis.comparisons), ...ofMargin.filter(Boolean),
    ...analysis.effects.flatMap(({ axis, baseline, comparisons }, index) => [
      comparisonSentence(measure, axis, baseline, comparisons),
      ...(measure.margin === null || !margins[index + 1] ? [] : [marginSentence(measure, axis, baseline, margins[index + 1])]),
    ].map((sentence) => `Averaged over the other axes: ${sentence}`)),
    ...analysis.interactions.map(interactionSentence),
  ];
}

// All pairs, groups, a line, measures together

function pairsSentence(measure, { variable, levels, comparisons }) {
  const tested = comparisons.filter((item) => item.corrected !== null);
  if (!tested.length) return `No two levels of ${variable} can be compared: each pair shares fewer than two prompts.`;
  const sign = measure.direction === "lower" ? -1 : 1;
  const of = (level, other) => {
    const item = comparisons.find((one) => one.level === level && one.baseline === other) ?? comparisons.find((one) => one.level === other && one.baseline === level);
    return item && { item, turn: item.level === level ? 1 : -1 };
  };
  const lead = (level) => {
    const amounts = levels.filter((other) => other !== level).map((other) => of(level, other)).filter((pair) => pair && pair.item.difference !== null).map(({ item, turn }) => turn * item.difference);
    return mean(amounts) ?? 0;
  };
  const best = levels.reduce((one, other) => sign * lead(other) > sign * lead(one) ? other : one);
  const found = tested.filter(isFound);
  const counted = `${tested.length} pair${tested.length > 1 ? "s" : ""} of levels`;
  const prompts = rangeText(tested.map((item) => item.prompts));
  if (!found.length) {
    if (!tested.some(canBeFound)) return noPairCanBeFound(variable, tested, prompts);
    return `No two levels of ${variable} can be told apart with ${prompts} prompts, corrected for ${counted}.`;
  }
  const [beaten, open] = [[], []];
  for (const level of levels) {
    const pair = level === best ? undefined : of(best, level);
    if (pair) (isFound(pair.item) && sign * pair.turn * pair.item.difference > 0 ? beaten : open).push(level);
  }
  const named = (names) => listed(names.map(quoted), MOST_LEVELS_NAMED);
  const everyone = open.length ? "" : beaten.length === levels.length - 1 ? " every other level:" : " every other level that has numbers:";
  const most = { none: "the highest mean", lower: "the best (lowest) mean" }[measure.direction] ?? "the best mean";
  const clauses = [`${variable} ${quoted(best)} has ${most}`];
  if (beaten.length) clauses.push(`it ${measure.direction === "none" ? "lies above" : "beats"}${everyone} ${named(beaten)}`);
  if (open.length) clauses.push(`it can't be told apart from ${named(open)} with ${prompts} prompts`);
  return `${clauses.join("; ")}. ${found.length} of ${counted} ${found.length === 1 ? "differs" : "differ"} after correction for all of them.`;
}

function noPairCanBeFound(variable, tested, prompts) { // too few prompts, or too few that differ
  if (tested.every((item) => item.isIdentical)) return `All levels of ${variable} gave exactly the same numbers.`;
  const beginning = `With ${prompts} prompts no two levels of ${variable} can be told apart, however far they lie`;
  const needed = leastPrompts(Math.max(...tested.map((item) => item.tests)));
  if (Math.max(...tested.map((item) => item.prompts)) >= needed) return `${beginning}: at most ${Math.max(...tested.map((item) => item.differing))} of them differ.`;
  return `${beginning}: it takes ${atLeast(needed)}.`;
}

function groupSentences(measure, grouped) {
  const verdicts = grouped.groups.map(({ name, comparisons }) => `${grouped.by} ${quoted(name)}: ${comparisonSentence(measure, grouped.variable, grouped.baseline, comparisons)}`);
  return [...verdicts, differsSentence(measure, grouped)];
}

function differsSentence(measure, { by, variable, groups, differs, isPossible }) {
  const found = differs.filter(({ p }) => p !== null && p <= ALPHA).sort((one, other) => one.p - other.p);
  const beginning = `Whether the answer differs by ${by}`;
  if (!differs.some(({ p }) => p !== null)) return `${beginning} can't be said: fewer than two groups have two prompts with both levels.`;
  if (found.length) {
    const clauses = found.map(({ level, p, low, high }) => {
      const decimals = decimalsFor(Math.abs(high[1] - low[1]) / 4);
      const ends = [high, low].map(([group, amount]) => {
        const text = numberText(amount, decimals);
        return `${amount > 0 && Number(text) ? "+" : ""}${text}${unitText(measure)} for ${quoted(group)}`;
      });
      return `${variable} ${quoted(level)} is ${ends[0]} and ${ends[1]} (p ${pText(p)})`;
    });
    return `The answer differs by ${by}: ${listed(clauses, MOST_LEVELS_NAMED)}.`;
  }
  const sizes = rangeText(groups.map(({ prompts }) => prompts));
  if (!isPossible) return `${beginning} can't be shown with ${sizes} prompts in a group, however much.`;
  return `No sign that the answer differs by ${by}, with ${sizes} prompts in a group; that does not show it to be the same.`;
}

function withoutEmptyLevels(axis, { filled, empty }) { // how a line is asked for without the levels that have no number
  if (!empty.length || filled.length < 2) return "";
  return ` ${listed(empty, MOST_LEVELS_NAMED)} ${empty.length === 1 ? "has" : "have"} no number; --where ${axis}=${filled.join(",")} leaves them out.`;
}

function trendSentence(measure, { axis, slope, bend, levels }) {
  if (slope.difference === null || slope.corrected === null) return `No line can be tested along ${axis}: fewer than two prompts have every level.${withoutEmptyLevels(axis, levels)}`;
  if (!canBeFound(slope) && slope.differing < slope.prompts && slope.prompts >= leastPrompts(slope.tests)) return `No slope along ${axis} can be shown, however steep: ${slope.differing} of ${slope.prompts} prompts have one.`;
  if (!canBeFound(slope)) return `With ${slope.prompts} prompts no slope along ${axis} can be shown, however steep: it takes ${atLeast(leastPrompts(slope.tests))}.`;
  const share = `it rises for ${slope.values.filter((value) => value > 0).length} of ${slope.prompts} prompts`;
  let first = `No slope along ${axis} can be told from 0 with ${slope.prompts} prompts; ${share}`;
  if (isFound(slope)) {
    const isDown = slope.difference < 0;
    const ends = slope.low === null ? [null, null] : isDown ? [-slope.high, -slope.low] : [slope.low, slope.high];
    const [amount, low, high] = estimateText({ mean: Math.abs(slope.difference), low: ends[0], high: ends[1] }, measure.unit);
    first = `It ${isDown ? "falls" : "rises"} along ${axis}, by ${amount} for each 1 more${low ? `, 95 % interval ${low} to ${high}` : ""}; ${share}`;
  }
  if (bend === null) return `${first}.`;
  if (!isFound(bend)) return `${first}. No sign that the line bends.`;
  return `${first}. The line bends (p ${pText(bend.corrected)}): levels in the middle lie ${bend.difference < 0 ? "above" : "below"} it, so one slope does not say it all.`;
}

function correlationSentence({ titles, within, low, high, prompts, p }) {
  const pair = titles.join(" and ");
  if (within === null) return `Whether ${pair} go together can't be said: one of them does not vary within prompts.`;
  if (p === null) return `Whether ${pair} go together can't be said: fewer than two prompts have both at two levels.`;
  const known = `correlation ${rounded(within, 2)}${low === null ? "" : `, 95 % interval ${rounded(low, 2)} to ${rounded(high, 2)}`}, ${prompts} prompts`;
  if (p > ALPHA) return `Within a prompt, no sign that ${pair} go together (${known}).`;
  return `Within a prompt, ${pair} ${within > 0 ? "go together" : "go against each other"} (${known}, p ${pText(p)}).`;
}
