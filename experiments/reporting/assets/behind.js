// The pairs behind a number: of tables, plots, maps and sentences, and of what was asked; the largest difference first.

const BEHIND_AT_ONCE = 24;
const behind = { pairs: [], shown: 0, measure: 0, opener: null };
const behindDialog = document.getElementById("behind");
const measureOf = (column) => data.measures.findIndex((measure) => measure.column === column);
const digitsOf = (measure) => data.questions?.measures.find((own) => own.place === measure)?.values ?? data.run.values[measure];

// Pairs of the runs that have these levels along these axes with those of the baseline; what else varies is the same in both
function pairsAt(measure, axes, levels) {
  const values = digitsOf(measure);
  const base = data.cells[data.baseline];
  const isOfPairs = Boolean(data.measures[measure].closer);
  const at = new Map(axes.map((axis, index) => [axis, levels[index]]));
  return rows.flatMap((row) => row.runs.flatMap((run, place) => {
    const cell = data.cells[place];
    if (run < 0 || values[run] === null || axes.some((axis) => cell[axis] !== at.get(axis))) return [];
    const other = row.runs[levelOfCell(cell.map((level, axis) => at.has(axis) ? base[axis] : level))];
    if (other < 0 || (!isOfPairs && values[other] === null)) return [];
    return [{ run, base: other, change: isOfPairs ? values[run] : values[run] - values[other] }];
  }));
}

function listBehind(pairs, measure, title, opener) {
  const { title: name, closer } = data.measures[measure];
  const size = closer === "higher" ? ({ change }) => -change : ({ change }) => Math.abs(change);
  Object.assign(behind, { pairs: [...pairs].sort((one, other) => size(other) - size(one)), measure, shown: 0, opener });
  const counted = `${pairs.length} pair${pairs.length === 1 ? "" : "s"}`;
  document.getElementById("behind-title").textContent = `${name}: ${title}, ${counted}, the largest ${closer ? "distance" : "difference"} first`;
  document.getElementById("behind-list").replaceChildren();
  moreBehind();
  if (!behindDialog.open) behindDialog.showModal();
  behindDialog.scrollTop = 0;
  document.getElementById("behind-title").focus({ preventScroll: true });
}

function moreBehind() {
  const next = behind.pairs.slice(behind.shown, behind.shown + BEHIND_AT_ONCE);
  behind.shown += next.length;
  const isOfPairs = Boolean(data.measures[behind.measure].closer);
  document.getElementById("behind-list").append(...next.map(({ run, base, change: by, also = "" }) => {
    const pair = { row: rows[data.run.row[run]], run, base, level: data.run.level[run], other: data.run.level[base] };
    const told = `${formatted(by, behind.measure, !isOfPairs)} ${data.measures[behind.measure].unit}`.trim();
    return drawPair(pair, behind.measure, also ? `${told}, ${also}` : told);
  }));
  document.getElementById("behind-more").hidden = behind.shown >= behind.pairs.length;
}

document.getElementById("behind-more").addEventListener("click", moreBehind);
document.getElementById("behind-close").addEventListener("click", () => behindDialog.close());
behindDialog.addEventListener("click", (event) => { if (event.target === behindDialog) behindDialog.close(); });
behindDialog.addEventListener("close", () => behind.opener?.focus());

// Numbers that stand in the page: what they are of is written beside them, as axes and levels

function axesOf(place) {
  const named = JSON.parse(place.closest("[data-axes]")?.dataset.axes ?? "[]");
  return named.length ? named.map((name) => data.axes.findIndex((axis) => axis.name === name)) : data.axes.map((_, axis) => axis);
}

function openBehind(place, opener) {
  const measure = measureOf(place.closest("[data-column]").dataset.column);
  const axes = axesOf(place);
  const named = JSON.parse(place.dataset.behind);
  const isWhole = typeof named === "string";
  const levels = isWhole ? data.cells[data.levels.indexOf(named)] : named.map((name, index) => data.axes[axes[index]].levels.indexOf(name));
  const base = data.cells[data.baseline];
  const told = (of) => axes.map((axis, index) => data.axes[axis].levels[of[index]]).join(" x ");
  const [own, other] = [told(levels), told(axes.map((axis) => base[axis]))];
  const which = axes.length === data.axes.length ? "" : `${axes.map((axis) => data.axes[axis].name).join(" x ")} `;
  const pairs = own === other ? [] : pairsAt(measure, axes, levels);
  listBehind(pairs, measure, `${which}${own} ${data.measures[measure].closer ? "beside" : "minus"} ${other}`, opener);
}

function leadingButton(text) {
  return element("button", { type: "button", class: "number-link", title: "Show the pairs behind it", textContent: text });
}

function makeLeading(place) { // the keyboard has one button a row, the pointer every number
  const spot = place.matches(".behind-here") ? place : place.querySelector(".behind-here");
  if (!spot || !spot.textContent.trim()) return;
  spot.replaceChildren(leadingButton(spot.textContent.trim()));
  place.classList.add("leads");
}

document.querySelectorAll("[data-behind]").forEach(makeLeading);
document.addEventListener("click", (event) => {
  const place = event.target.closest("[data-behind], .asked-row");
  if (!place || !event.target.closest(".number-link, td, .number, .track, .dot, .prompt-dot")) return;
  const opener = event.target.closest(".number-link") ?? place.querySelector(".number-link");
  if (place.showBehind) place.showBehind(opener);
  else openBehind(place, opener);
});

// Amounts in sentences: “LEVEL beats BASELINE by AMOUNT”, “LEVEL is as good as BASELINE within MARGIN (90 % interval …”, “the mean
// of LEVEL is AMOUNT above …”; of combinations or averaged over the other axes

const LEVEL = "(?<!\\S)(“[^”]+”|[^\\s“”;:,]+(?: x [^\\s“”;:,]+)*)";
const AMOUNTS = [
  new RegExp(`${LEVEL} (?:beats|loses to|is faster than|is slower than|is higher than|is lower than) [^;]*? by (?:less than )?(\\d[\\d.]*)`, "g"),
  new RegExp(`${LEVEL} (?:is|differs) [^;()]*?(?:within|by (?:more|less) than) [^;()]*\\(90 % interval (-?[\\d.]+ to -?[\\d.]+)`, "g"),
  new RegExp(`the mean of ${LEVEL} is (\\d[\\d.]*)`, "g"),
];
const MOST_NAME_CHARACTERS = 40;

function quoted(level) { // as experiments/stats/level_names.py
  const half = MOST_NAME_CHARACTERS / 2;
  const letters = [...level];
  const shown = letters.length > MOST_NAME_CHARACTERS ? `${letters.slice(0, half - 1).join("").trimEnd()}…${letters.slice(-half).join("").trimStart()}` : level;
  return level.split(" x ").every((part) => part.trim() !== "" && !Number.isNaN(Number(part))) ? shown : `“${shown}”`;
}

function amountsIn(text, names) { // where amounts stand that are of one of these levels
  const known = new Map(names.map((name) => [quoted(name), name]));
  return AMOUNTS.flatMap((pattern) => [...text.matchAll(pattern)])
    .filter((found) => known.has(found[1]))
    .map((found) => ({ name: known.get(found[1]), start: found.index + found[0].length - found[2].length, length: found[2].length }))
    .sort((one, other) => one.start - other.start);
}

function linkClaims(line, column) {
  const text = line.textContent;
  const averaged = text.match(/^Averaged over the other axes: (.+?) (?=[“\d-])/);
  const axis = averaged ? data.axes.find(({ name }) => name === averaged[1]) : null;
  const parts = [];
  let end = 0;
  for (const { name, start, length } of amountsIn(text, axis ? axis.levels : data.levels)) {
    const place = element("span", { class: "behind-here" }, text.slice(start, start + length));
    place.dataset.behind = JSON.stringify(axis ? [name] : name);
    place.dataset.column = column;
    if (axis) place.dataset.axes = JSON.stringify([axis.name]);
    makeLeading(place);
    const [sign] = text.slice(start + length).match(/^[,;.]?/); // stays with its number
    parts.push(text.slice(end, start), element("span", { class: "claim" }, place, sign));
    end = start + length + sign.length;
  }
  if (parts.length) line.replaceChildren(...parts, text.slice(end));
}

document.querySelectorAll("dd[data-column] > p:not(.note)").forEach((line) => linkClaims(line, line.parentElement.dataset.column));
