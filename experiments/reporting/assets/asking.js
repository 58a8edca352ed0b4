// The controls of questions after the first: what is asked, the tables that answer it, and the pairs behind a number.

const askSection = document.getElementById("ask");
const askForm = document.getElementById("ask-controls");
const LEADING = ["difference", "median", "slope"];
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
  const part = partOf(asked(), question.measure);
  const column = asks.measures[question.measure].column;
  const isAxis = (name) => part.axes.some((axis) => axis.name === name);
  const divides = question.by && (isAxis(question.by) ? part.axes.length > 1 : !data.axes.some((axis) => axis.name === question.by) && new Set(part.runs.map((run) => asks.properties[question.by][data.prompts[run.prompt].id])).size > 1);
  const groups = divides ? groupsTable(part, question.by, column) : null;
  const trend = question.trend && isAxis(question.trend) ? trendTable(part, question.trend, column) : null;
  const tables = [
    baselineTable(part, column), ...(question.pairs ? pairsTables(part, column) : []), ...(groups ? [groups] : []),
    ...(trend && question.prompts ? [trend] : []), ...(question.prompts ? [spreadsTable(part, column)] : []),
    ...(question.correlate && asks.measures.length > 1 ? [correlationsTable(asked())] : []),
  ];
  const sentences = [
    `${part.runs.length} pictures of ${new Set(part.runs.map((run) => run.unit)).size} prompts; corrected p hold for each table by itself, so the more is asked, the more is found by chance.`,
    ...(groups ? [differsSentence(groups, question.by)] : []), ...(trend ? [trendLine(trend, question.trend)] : []),
  ];
  output.replaceChildren(element("p", { class: "note" }, "The same in a terminal: ", element("code", { textContent: commandOf(asked(), part) })),
    ...sentences.map((text) => element("p", { textContent: text })),
    ...(question.prompts ? promptPlots(part, asks.measures[question.measure].place) : []), ...tables.map((table) => drawTable(table, part, question.measure)));
}

function differsSentence(groups, by) {
  const found = [...groups.differs].filter(([, p]) => p <= ALPHA);
  if (!groups.differs.size) return `Whether the answer differs by ${by} can't be said: fewer than two groups have two prompts with both levels.`;
  if (!found.length) return `No sign that the answer differs by ${by}; that does not show it to be the same.`;
  return `The answer differs by ${by}: ${found.map(([level, p]) => `${level} (p ${TOLD.p(p)})`).join(", ")}.`;
}

function trendLine(trend, axis) {
  const { difference: slope, low, high, corrected } = trend.slope;
  if (corrected === null) return `No line can be tested along ${axis}: fewer than two prompts have every level.`;
  const ends = low === null ? "no interval" : `95 % interval ${readable(low)} to ${readable(high)}`;
  const bend = trend.bend === null ? "" : trend.bend.corrected <= ALPHA ? ` The line bends (p ${TOLD.p(trend.bend.corrected)}): one slope does not say it all.` : " No sign that the line bends.";
  return corrected <= ALPHA
    ? `It ${slope > 0 ? "rises" : "falls"} along ${axis} by ${readable(Math.abs(slope))} for each 1 more (${ends}, p ${TOLD.p(corrected)}).${bend}`
    : `No slope along ${axis} can be told from 0 (${readable(slope)}, ${ends}).${bend}`;
}

const readable = (value) => String(Number(value.toPrecision(2)));

function commandOf(question, part) {
  const quoted = (text) => /^[\w.=/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  const where = [
    ...Object.entries(question.properties), ...(question.seed === undefined ? [] : [["seed", String(question.seed)]]),
    ...Object.entries(question.levels).map(([name, index]) => [name, data.axes.find((axis) => axis.name === name).levels[index]]),
  ];
  const own = partOf({ ...question, baseline: "" }, question.measure).baseline;
  return [
    "uv run experiments/analyze.py", quoted(data.folder), ...where.map(([name, value]) => `--where ${quoted(`${name}=${value.includes(",") ? `"${value}"` : value}`)}`),
    ...(part.baseline === own ? [] : [`--baseline ${quoted(part.baseline)}`]), ...(question.pairs ? ["--all-pairs"] : []),
    ...(question.by ? [`--by ${quoted(question.by)}`] : []), ...(question.trend ? [`--trend ${quoted(question.trend)}`] : []),
    ...(question.prompts ? ["--per-prompt"] : []), ...(question.correlate ? ["--correlate"] : []), `--measure ${asks.measures[question.measure].column}`,
  ].join(" ");
}

function drawTable(table, part, measure) {
  const decimals = data.measures[asks.measures[measure].place].decimals;
  const shown = (value, heading) => {
    if (typeof value !== "number") return TOLD.text(value);
    if (heading === "p" || heading === "p corr.") return TOLD.p(value);
    if (heading === "wins") return `${Math.round(100 * value)}%`;
    return Number.isInteger(value) && ["n", "pairs", "prompts", "above 0"].includes(heading) ? String(value) : value.toFixed(["g", "within prompts", "over prompts"].includes(heading) ? 2 : decimals);
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
  return element("div", { class: "table-scroll" }, element("table", { class: "answer", "data-name": table.name },
    element("caption", { textContent: table.title }),
    element("thead", {}, element("tr", {}, ...table.columns.map((heading) => element("th", {}, ...atWords(heading))))),
    element("tbody", {}, ...rowsShown)));
}

// The pairs behind a number, the largest difference first; one opens in the viewer

function showBehind(part, table, row, measure, opener) {
  const place = asks.measures[measure].place;
  if (table.slope) {
    listBehind(pairsAlong(part, table.axis, row[0]), place, `${row[0]}, along ${table.axis} beside its lowest level`, opener);
    return;
  }
  const isPairs = table.columns[1] === "minus";
  const isGroups = table.differs !== undefined;
  const base = isPairs ? row[1] : isGroups ? table.title.split(", beside ")[1] : part.baseline;
  const level = isPairs || !isGroups ? row[0] : row[1];
  const group = isGroups ? row[0] : null;
  const by = isGroups ? table.columns[0] : "";
  const partsOf = (run) => [run.cell, ...run.levels];
  const has = (run, name) => partsOf(run).includes(name) || (isGroups && run.levels.filter((_, index) => part.axes[index].name !== by).join(" x ") === name);
  const inGroup = (run) => group === null || run.levels[part.axes.findIndex((axis) => axis.name === by)] === group || asks.properties[by]?.[data.prompts[run.prompt].id] === group;
  const own = part.runs.filter(inGroup);
  const restOf = (run, name) => run.levels.filter((value) => value !== name).join("\n");
  const bases = new Map(own.filter((run) => has(run, base)).map((run) => [JSON.stringify([run.prompt, run.seed, run.cell === base ? "" : restOf(run, base)]), run]));
  const pairs = own.filter((run) => has(run, level)).flatMap((run) => {
    const other = bases.get(JSON.stringify([run.prompt, run.seed, run.cell === level ? "" : restOf(run, level)]));
    return other === undefined ? [] : [{ run: run.run, base: other.run, change: run.value - other.value }];
  });
  listBehind(pairs, place, `${level} minus ${base}${group === null ? "" : `, ${by} ${group}`}`, opener);
}

function pairsAlong(part, name, unit) { // a prompt's pictures along an axis, each beside that of the lowest number
  const at = part.axes.findIndex((axis) => axis.name === name);
  const { levels, numbers } = part.axes[at];
  const lowest = levels[numbers.indexOf(Math.min(...numbers))];
  const keyOf = (run) => JSON.stringify([run.prompt, run.seed, run.levels.filter((_, index) => index !== at)]);
  const own = part.runs.filter((run) => run.unit === unit);
  const bases = new Map(own.filter((run) => run.levels[at] === lowest).map((run) => [keyOf(run), run]));
  return own.filter((run) => run.levels[at] !== lowest && bases.has(keyOf(run)))
    .map((run) => ({ run: run.run, base: bases.get(keyOf(run)).run, change: run.value - bases.get(keyOf(run)).value }));
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
