// The controls of questions after the first: what is asked, the tables that answer it, and the pairs behind a number.

const askSection = document.getElementById("ask");
const askForm = document.getElementById("ask-controls");
const MOST_RUNS_AT_ONCE = 5000;
const LEADING = ["difference", "median", "slope", "within prompts"];
const TOLD = { text: (value) => value ?? "", p: (value) => value === null ? "" : value < 0.001 ? "<0.001" : value.toFixed(value < 0.1 ? 3 : 2) };

function option(value, text) {
  return element("option", { value, textContent: text });
}

function labelled(text, name, options) {
  return element("label", {}, text, " ", element("select", { name: `ask-${name}` }, ...options.map(([value, shown]) => option(value, shown))));
}

function buildAskForm() {
  const seeds = [...new Set(data.run.seed)];
  const all = (name) => ["", `any ${name}`];
  const where = [
    ...Object.entries(asks.properties).map(([name, values]) => labelled(name, `property ${name}`, [all(name), ...[...new Set(Object.values(values))].map((value) => [value, value])])),
    ...(seeds.length > 1 ? [labelled("seed", "seed", [all("seed"), ...seeds.map((seed) => [String(seed), String(seed)])])] : []),
    ...(data.axes.length > 1 ? data.axes.map((axis) => labelled(axis.name, `axis ${axis.name}`, [all("level"), ...axis.levels.map((level, index) => [String(index), level])])) : []),
  ];
  const numeric = data.axes.filter((axis, index) => asks.numbers[index] && axis.levels.length > 1).map((axis) => [axis.name, axis.name]);
  const divides = [...Object.keys(asks.properties), ...(data.axes.length > 1 ? data.axes.map((axis) => axis.name) : [])].map((name) => [name, name]);
  const tick = (name, text) => element("label", { class: "tick-box" }, element("input", { type: "checkbox", name: `ask-${name}` }), " ", text);
  askForm.replaceChildren(
    labelled("By", "measure", asks.measures.map((measure, index) => [String(index), data.measures[measure.place].title])),
    ...where,
    labelled("Compare with", "baseline", []),
    labelled("In each", "by", [["", "no groups"], ...divides]),
    ...(numeric.length ? [labelled("Line along", "trend", [["", "no axis"], ...numeric])] : []),
    tick("pairs", "all pairs"), tick("prompts", "spread over prompts"), tick("correlate", "how measures go together"),
  );
}

function asked() {
  const form = askForm.elements;
  const properties = Object.fromEntries(Object.keys(asks.properties).map((name) => [name, form[`ask-property ${name}`].value]).filter(([, value]) => value));
  const levels = Object.fromEntries(data.axes.map((axis) => [axis.name, form[`ask-axis ${axis.name}`]?.value]).filter(([, value]) => value).map(([name, value]) => [name, Number(value)]));
  const field = (name) => form[`ask-${name}`];
  const seed = field("seed")?.value ? Number(field("seed").value) : undefined;
  return { measure: Number(field("measure").value), properties, levels, seed, baseline: field("baseline").value, by: field("by").value, trend: field("trend")?.value ?? "", pairs: field("pairs").checked, prompts: field("prompts").checked, correlate: field("correlate").checked };
}

function offerBaselines(part) { // those of the levels that are left; the choice stays where it is still one
  const select = askForm.elements["ask-baseline"];
  const before = select.value;
  select.replaceChildren(...part.names.map((name) => option(name, name)));
  select.value = part.names.includes(before) ? before : part.baseline || part.names[0];
}

function answerNow() {
  const question = asked();
  const free = partOf({ ...question, baseline: "" }, question.measure);
  const output = document.getElementById("answers");
  if (free.names.length < 2) {
    output.replaceChildren(element("p", { class: "note", textContent: "One level is left, so there is nothing to compare." }));
    return;
  }
  offerBaselines(free);
  const { part } = analysed(asked(), question.measure);
  const command = element("p", { class: "note in-a-terminal" }, asks.refused || "The same in a terminal, where the question is kept with the results:", " ", element("code", { textContent: commandOf(asked(), part) }));
  if (asks.refused) output.replaceChildren(command);
  else output.replaceChildren(command, ...answered(asked(), part));
}

function answered(question, part) { // sentences, notes, plots and tables
  const measure = asks.measures[question.measure];
  const isAxis = (name) => part.axes.some((axis) => axis.name === name);
  const divides = question.by && (isAxis(question.by) ? part.axes.length > 1 : !data.axes.some((axis) => axis.name === question.by) && new Set(part.runs.map((run) => asks.properties[question.by][data.prompts[run.prompt].id])).size > 1);
  const { analysis } = analysed(question, question.measure);
  const pairs = question.pairs ? pairsTables(part, measure.column) : [];
  const groups = divides ? groupsTable(part, question.by, measure.column) : null;
  const trend = question.trend && isAxis(question.trend) ? trendTable(part, question.trend, measure.column) : null;
  const correlations = question.correlate && asks.measures.length > 1 ? correlationsTable(question) : null;
  const tables = [
    baselineTable(part, measure.column, analysis), ...pairs, ...(groups ? [groups] : []), ...(trend && question.prompts ? [trend] : []),
    ...(question.prompts ? [spreadsTable(part, measure.column)] : []), ...(correlations ? [correlations] : []),
  ];
  const lines = [
    ...overallLine(question),
    ...verdictSentences(measure, part, analysis).map((text) => verdictLine(text, part, measure)),
    ...pairs.map((table) => element("p", { textContent: pairsSentence(measure, table) })),
    ...(groups ? groupSentences(measure, groups).map((text) => groupLine(text, part, groups, measure)) : []),
    ...(trend ? [trendLine(trendSentence(measure, trend), part, trend, measure)] : []),
    ...(correlations ? correlations.found.map((pair) => correlationLine(correlationSentence(pair), question, pair)) : []),
  ];
  const notes = [...notesOf(measure, part, analysis.comparisons), ...partNotes(question, part, askedBefore(questionText(question, part)))];
  return [
    ...lines, ...notes.map((textContent) => element("p", { class: "note", textContent })),
    ...(question.prompts ? promptPlots(part, measure.place) : []), ...tables.map((table) => drawTable(table, part, question.measure)),
  ];
}

function overallLine(question) { // of many runs it comes after the rest, which need not wait for the other measures
  const line = element("p", { class: "overall", title: "What the command says of all measures together, without --measure" });
  if (data.run.row.length <= MOST_RUNS_AT_ONCE) {
    line.textContent = overallSentence(question);
    return line.textContent ? [line] : [];
  }
  line.textContent = "All measures together …";
  setTimeout(() => {
    if (!line.isConnected) return;
    line.textContent = overallSentence(question);
    if (!line.textContent) line.remove();
  }, 50);
  return [line];
}

// Every question is one more that may find something by chance: those of this browser are counted beside the manifest's

const askedKey = `asked ${data.folder ?? ""} ${data.variable}`;

function questionText(question, part) { // as the manifest keeps it
  const own = partOf({ ...question, baseline: "" }, question.measure).baseline;
  return [
    ...conditionsOf(question).map(([name, value]) => `${name}=${value}`).sort(byCode).map((condition) => `where ${condition}`),
    ...(part.baseline === own ? [] : [`baseline ${part.baseline}`]), ...(question.pairs ? ["all pairs"] : []),
    ...(question.by ? [`by ${question.by}`] : []), ...(question.trend ? [`trend over ${question.trend}`] : []), ...(question.correlate ? ["correlations"] : []),
  ].join("; ");
}

function askedBefore(text) { // other questions so far; this one is kept from now on
  let here = [];
  try {
    here = JSON.parse(localStorage.getItem(askedKey) ?? "[]");
    if (text) localStorage.setItem(askedKey, JSON.stringify([...new Set([...here, text])]));
  } catch { /* a browser that keeps nothing counts those of the manifest */ }
  return text ? [...new Set([...asks.asked, ...here])].filter((other) => other !== text) : [];
}

const conditionsOf = (question) => [
  ...Object.entries(question.properties), ...(question.seed === undefined ? [] : [["seed", String(question.seed)]]),
  ...Object.entries(question.levels).map(([name, index]) => [name, data.axes.find((axis) => axis.name === name).levels[index]]),
];

function commandOf(question, part) {
  const shell = (text) => /^[\w.=/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  const own = partOf({ ...question, baseline: "" }, question.measure).baseline;
  return [
    ...data.analyze, shell(data.folder), ...conditionsOf(question).map(([name, value]) => `--where ${shell(`${name}=${value.includes(",") ? `"${value}"` : value}`)}`),
    ...(part.baseline === own ? [] : [`--baseline ${shell(part.baseline)}`]), ...(question.pairs ? ["--all-pairs"] : []),
    ...(question.by ? [`--by ${shell(question.by)}`] : []), ...(question.trend ? [`--trend ${shell(question.trend)}`] : []),
    ...(question.prompts ? ["--per-prompt"] : []), ...(question.correlate ? ["--correlate"] : [`--measure ${asks.measures[question.measure].column}`]), // which needs all measures
  ].join(" ");
}

function drawTable(table, part, measure) {
  const decimals = data.measures[asks.measures[measure].place].decimals;
  const shown = (value, heading) => {
    if (typeof value !== "number") return TOLD.text(value);
    if (heading === "p" || heading === "p corr.") return TOLD.p(value);
    if (heading === "wins") return `${Math.round(100 * value)}%`;
    return Number.isInteger(value) && ["n", "pairs", "prompts", "above 0"].includes(heading) ? String(value) : numberText(value, ["g", "within prompts", "over prompts"].includes(heading) ? 2 : decimals);
  };
  const at = table.columns.findIndex((heading) => LEADING.includes(heading));
  const rowsShown = table.rows.map((row) => {
    const cells = row.map((value, index) => {
      const isText = typeof value === "string";
      const cell = element(isText && index === 0 ? "th" : "td", { "data-value": value === null ? "" : String(value) });
      const text = shown(value, table.columns[index]);
      if (index === at && value !== null) {
        cell.append(leadingButton(text));
      } else cell.textContent = text;
      if (isText) cell.classList.add("in-words");
      return cell;
    });
    const isFound = row[table.columns.indexOf("p corr.")] !== null && row[table.columns.indexOf("p corr.")] <= ALPHA;
    const line = element("tr", { class: isFound ? "found" : "" }, ...cells);
    if (at >= 0 && row[at] !== null) {
      line.classList.add("asked-row", "leads");
      line.showBehind = (opener) => showBehind(part, table, row, measure, opener);
    }
    return line;
  });
  const isInWords = (index) => table.rows.length && table.rows.every((row) => typeof row[index] === "string");
  return element("div", { class: "table-scroll" }, element("table", { class: "answer", "data-name": table.name },
    element("caption", { textContent: table.title }),
    element("thead", {}, element("tr", {}, ...table.columns.map((heading, index) => element("th", { class: isInWords(index) ? "in-words" : "" }, ...atWords(heading))))),
    element("tbody", {}, ...rowsShown)));
}

// The pairs behind a number, the largest difference first; one opens in the viewer

function showBehind(part, table, row, measure, opener) {
  const place = asks.measures[measure].place;
  if (table.slope) {
    listBehind(pairsAlong(part, table.axis, row[0]), place, `${row[0]}, along ${table.axis} beside its lowest level`, opener);
    return;
  }
  if (table.found) {
    openCorrelation(table.question, table.found[table.rows.indexOf(row)], opener);
    return;
  }
  const isPairs = table.columns[1] === "minus";
  const isGroups = table.groups !== undefined;
  const base = isPairs ? row[1] : isGroups ? table.baseline : part.baseline;
  const level = isPairs || !isGroups ? row[0] : row[1];
  const group = isGroups ? row[0] : null;
  const pairs = isGroups ? pairsOfGroup(part, table.by, group, level, base) : pairsBetween(part, level, base);
  listBehind(pairs, place, `${level} minus ${base}${group === null ? "" : `, ${table.by} ${group}`}`, opener);
}

askSection.hidden = !asks;
document.querySelector('.sections a[href="#ask"]').hidden = !asks;
if (asks) {
  buildAskForm();
  let wait = 0;
  askForm.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(answerNow); });
  askForm.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("ask-open").addEventListener("toggle", (event) => { if (event.target.open && !document.getElementById("answers").childElementCount) answerNow(); });
  offerBaselines(partOf({ ...asked(), baseline: "" }, 0));
}
