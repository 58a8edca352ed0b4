// Plots prompt by prompt: how a level's differences are spread, and each prompt's line along an axis of numbers.

const MOST_DOTS = 200;
const MOST_LINES = 60;
const MOST_TICKS = 5;
const STACKED = 5; // dots above each other, before they cover each other
const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function scaleOver(values) { // as experiments/reporting/scales.py
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
    const centre = Math.abs(low) || 1;
    [low, high] = [low - 0.1 * centre, high + 0.1 * centre];
  }
  const margin = 0.04 * (high - low);
  [low, high] = [low - margin, high + margin];
  const least = (high - low) / MOST_TICKS;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((wide) => wide >= least * (1 - 1e-9));
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  const decimals = Math.max(0, -Math.floor(Math.log10(step)));
  const ticks = Array.from({ length: count }, (_, at) => (first + at) * step).map((value) => [value, value.toFixed(decimals).replace(/^-(?=0(\.0*)?$)/, "")]);
  return { percent: (value) => Math.round(10000 * (value - low) / (high - low)) / 100, ticks };
}

function evenly(items, most) { // so many of them, spread over their order
  return items.length <= most ? items : Array.from({ length: most }, (_, at) => items[Math.round(at * (items.length - 1) / (most - 1))]);
}

const axisLine = (scale) => element("div", { class: "axis", "aria-hidden": "true" }, ...scale.ticks.map(([value, text]) => {
  const label = element("span", { textContent: text });
  label.style.left = `${scale.percent(value)}%`;
  return label;
}));

function titled(node, text) {
  node.prepend(drawn("title", {}, text));
  return node;
}

// Differences from the baseline: a dot a prompt, the box from the first to the third quarter, a bar at the median

function spreadPlot(part, measure) {
  const units = paired(part.runs, (run) => run.cell);
  const levels = part.names.filter((name) => name !== part.baseline).map((name) => ({ name, ...difference(units, name, part.baseline) })).filter(({ byPrompt }) => byPrompt.size);
  if (!levels.length) return null;
  const scale = scaleOver([0, ...levels.flatMap(({ byPrompt }) => [...byPrompt.values()])]);
  const lines = levels.map((level) => {
    const entries = [...level.byPrompt].sort(([, one], [, other]) => one - other);
    const above = entries.filter(([, value]) => value > 0).length;
    const line = element("div", { class: "plot-row leads asked-row" },
      element("span", { class: "level", title: level.name }, ...atWords(level.name)),
      spreadTrack(entries, scale, measure, `${level.name}: above 0 for ${above} of ${entries.length} prompts`),
      element("span", { class: "number" }, leadingButton(`${above} of ${entries.length} above 0`)));
    line.showBehind = (opener) => listBehind(pairsOfCells(part, level.name), measure, `${level.name} minus ${part.baseline}`, opener);
    return line;
  });
  const shown = Math.max(...levels.map(({ byPrompt }) => byPrompt.size));
  return element("div", { class: "plot by-prompt" },
    element("div", { class: "plot-row plot-head" }, element("span", {}, ...atWords(part.variable)), element("span", { textContent: `difference to ${part.baseline}, a dot a prompt${shown > MOST_DOTS ? ` (${MOST_DOTS} of ${shown})` : ""}; box: middle half, bar: median` }), element("span", { textContent: "prompts" })),
    ...lines, element("div", { class: "plot-row plot-foot" }, element("span"), axisLine(scale), element("span")));
}

function spreadTrack(entries, scale, measure, told) {
  const values = entries.map(([, value]) => value);
  const [first, median, third] = [0.25, 0.5, 0.75].map((share) => quarterOf(values, share));
  const track = drawn("svg", { class: "track", role: "img", "aria-label": told },
    ...scale.ticks.map(([value]) => drawn("line", { class: value === 0 ? "tick zero" : "tick", x1: `${scale.percent(value)}%`, x2: `${scale.percent(value)}%`, y1: 0, y2: "100%" })),
    drawn("rect", { class: "middle-half", x: `${scale.percent(first)}%`, width: `${Math.max(scale.percent(third) - scale.percent(first), 0)}%`, y: "15%", height: "70%" }),
    drawn("line", { class: "median", x1: `${scale.percent(median)}%`, x2: `${scale.percent(median)}%`, y1: "8%", y2: "92%" }));
  let [last, stacked] = [-Infinity, 0];
  for (const [prompt, value] of evenly(entries, MOST_DOTS)) {
    const at = scale.percent(value);
    stacked = at - last < 1 ? (stacked + 1) % STACKED : 0;
    if (!stacked) last = at;
    const aside = stacked % 2 ? -Math.ceil(stacked / 2) : stacked / 2;
    track.append(titled(drawn("circle", { class: "prompt-dot", cx: `${at}%`, cy: `${50 + 16 * aside}%`, r: 2.6, "data-prompt": prompt, "data-value": value }), `${prompt}: ${formatted(value, measure, true)}`));
  }
  return track;
}

function pairsOfCells(part, name) {
  const keyOf = (run) => JSON.stringify([run.unit, run.seed]);
  const bases = new Map(part.runs.filter((run) => run.cell === part.baseline).map((run) => [keyOf(run), run]));
  return part.runs.filter((run) => run.cell === name && bases.has(keyOf(run))).map((run) => ({ run: run.run, base: bases.get(keyOf(run)).run, change: run.value - bases.get(keyOf(run)).value }));
}

// A prompt's numbers along an axis, about their own mean; the thick line is the mean of all prompts

function slopesPlot(part, axis, measure) {
  const index = part.axes.findIndex(({ name }) => name === axis);
  const { levels, numbers } = part.axes[index];
  const order = levels.map((_, at) => at).sort((one, other) => numbers[one] - numbers[other]);
  const units = byAxis(part, index);
  const columns = order.map((at) => contrast(units.filter((unit) => levels.every((level) => unit.values.has(level))), [[levels[at], 1]]).byPrompt);
  const prompts = [...columns[0].keys()];
  if (!prompts.length) return null;
  const lines = prompts.map((prompt) => {
    const values = columns.map((column) => column.get(prompt));
    return { prompt, values: values.map((value) => value - mean(values)), rise: values.at(-1) - values[0] };
  }).sort((one, other) => one.rise - other.rise);
  const shown = evenly(lines, MOST_LINES);
  const average = order.map((_, at) => mean(lines.map(({ values }) => values[at])));
  const x = scaleOver(order.map((at) => numbers[at]));
  const y = scaleOver([0, ...shown.flatMap(({ values }) => values)]);
  const path = (values, attributes) => drawn("g", attributes, ...values.slice(1).map((value, at) => drawn("line", { x1: `${x.percent(numbers[order[at]])}%`, x2: `${x.percent(numbers[order[at + 1]])}%`, y1: `${100 - y.percent(values[at])}%`, y2: `${100 - y.percent(value)}%` })));
  const rising = lines.filter(({ prompt }) => slopeOf(columns, prompt, order.map((at) => numbers[at])) > 0).length;
  const told = `Along ${axis}: it rises for ${rising} of ${lines.length} prompts`;
  const chart = drawn("svg", { role: "img", "aria-label": told },
    ...y.ticks.map(([value]) => drawn("line", { class: value === 0 ? "tick zero" : "tick", x1: 0, x2: "100%", y1: `${100 - y.percent(value)}%`, y2: `${100 - y.percent(value)}%` })),
    ...shown.map(({ prompt, values, rise }) => titled(path(values, { class: "prompt-line", "data-prompt": prompt, "data-values": JSON.stringify(values) }), `${prompt}: ${formatted(rise, measure, true)} from ${levels[order[0]]} to ${levels[order.at(-1)]}`)),
    path(average, { class: "mean-line" }));
  const labels = element("div", { class: "y-axis", "aria-hidden": "true" }, ...y.ticks.map(([value, text]) => {
    const label = element("span", { textContent: text });
    label.style.top = `${100 - y.percent(value)}%`;
    return label;
  }));
  const below = element("div", { class: "x-axis", "aria-hidden": "true" }, ...order.map((at) => {
    const label = element("span", { textContent: levels[at] });
    label.style.left = `${x.percent(numbers[at])}%`;
    return label;
  }));
  const some = lines.length > MOST_LINES ? `, ${MOST_LINES} of ${lines.length} shown` : "";
  chart.addEventListener("click", (event) => {
    const prompt = event.target.closest(".prompt-line")?.dataset.prompt;
    if (prompt !== undefined) listBehind(pairsAlong(part, axis, prompt), measure, `${prompt}, along ${axis} beside its lowest level`, null);
  });
  return element("figure", { class: "slopes" }, element("figcaption", {}, `${told}${some}. Each line is a prompt about its own mean, the thick one the mean of all.`), element("div", { class: "scatter" }, labels, chart, element("div"), element("div"), below));
}

function slopeOf(columns, prompt, numbers) { // least squares
  const centre = mean(numbers);
  return columns.reduce((sum, column, at) => sum + (numbers[at] - centre) * column.get(prompt), 0) / numbers.reduce((sum, value) => sum + (value - centre) ** 2, 0);
}

function promptPlots(part, measure) { // of all that the part varies
  const numeric = part.axes.filter((axis) => axis.numbers && axis.levels.length > 1);
  return [spreadPlot(part, measure), ...numeric.map((axis) => slopesPlot(part, axis.name, measure))].filter(Boolean);
}

document.querySelectorAll(".prompt-by-prompt").forEach((box) => {
  const place = measureOf(box.closest("[data-column]").dataset.column);
  const at = asks ? asks.measures.findIndex((measure) => measure.place === place) : -1;
  const button = box.querySelector("button");
  box.hidden = at < 0;
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    [...box.children].forEach((child) => { if (child !== button) child.hidden = isOpen; });
    if (box.childElementCount > 1) return;
    const plots = promptPlots(partOf({ properties: {}, levels: {}, baseline: "" }, at), place);
    box.append(...(plots.length ? plots : [element("p", { class: "note", textContent: "No prompt has a level and the baseline." })]));
  });
});
