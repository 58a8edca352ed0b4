// The picture grid: rows are prompts (with a seed), columns are levels. Only rows in view are in the document.

const data = JSON.parse(document.getElementById("grid-data").textContent);
const sheet = document.getElementById("sheet");
const controls = document.getElementById("controls").elements;
const CELL_PIXELS = { s: 96, m: 152, l: 240 };
const CAPTION_PIXELS = 22;
const ROWS_BEYOND_VIEW = 3;

const rows = data.rows.map(([prompt, seed]) => ({ prompt, seed, runs: new Array(data.levels.length).fill(-1) }));
data.run.row.forEach((row, run) => { rows[row].runs[data.run.level[run]] = run; });

const view = { rows: [], active: { row: 0, level: 0 }, measure: 0, rendered: new Map(), head: null, body: null, bestOf: new Map() };

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

// long names break behind the signs that part their words
const atWords = (text) => text.split(/(?<=[_\/=,:-])(?=\S)/).flatMap((part, index) => index ? [document.createElement("wbr"), part] : [part]);
const thumbnail = (run) => data.run.picture ? data.run.picture[run] : `thumbnails/${encodeURIComponent(data.run.id[run])}.webp`;
const picture = (run) => data.run.picture ? data.run.picture[run] : `images/${encodeURIComponent(data.run.id[run])}.png`;
const valueOf = (run, measure = view.measure) => run < 0 || !data.measures.length ? null : data.run.values[measure][run];
const isLowerBetter = (measure = view.measure) => [data.measures[measure]?.direction, data.measures[measure]?.closer].includes("lower");
const textOf = (run, measure = view.measure) => run >= 0 && data.measures[measure]?.unbounded.includes(run) ? "∞" : formatted(valueOf(run, measure), measure);

function formatted(value, measure = view.measure, signed = false) {
  if (value === null || value === undefined) return "";
  const text = value.toFixed(data.measures[measure].decimals);
  const plain = Number(text) === 0 ? text.replace("-", "") : text;
  return signed && Number(text) > 0 ? `+${plain}` : plain;
}

// a thumbnail that nobody has made yet, or that was deleted, is replaced by the whole picture
document.addEventListener("error", ({ target }) => {
  if (target.tagName === "IMG" && target.src.includes("/thumbnails/")) target.src = target.src.replace("/thumbnails/", "/images/").replace(/\.webp$/, ".png");
}, { capture: true });

function rowValues(row) {
  return row.runs.map((run) => valueOf(run)).filter((value) => value !== null);
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

function disagreement(row) {
  const values = rowValues(row);
  return values.length > 1 ? Math.max(...values) - Math.min(...values) : null;
}

// Filters and order

function fillControls() {
  const options = (select, pairs) => select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
  const categories = [...new Set(data.prompts.map((prompt) => prompt.category))];
  const seeds = [...new Set(rows.map((row) => row.seed))];
  options(controls.category, [["", `all (${categories.length})`], ...categories.map((name) => [name, name])]);
  options(controls.seed, [["", `all (${seeds.length})`], ...seeds.map((seed) => [String(seed), String(seed)])]);
  document.querySelector("[data-control=seed]").hidden = seeds.length < 2;
  options(controls.measure, data.measures.map((measure, index) => [String(index), measure.title]));
  controls.measure.disabled = !data.measures.length;
  controls.size.value = fittingSize();
  options(controls.order, [
    ["planned", "as planned"], ["best", "best score first"], ["worst", "worst score first"],
    ["disagreement", "levels disagree most"], ...(judges.length > 1 ? [["judges", "judges disagree most"]] : []),
    ...data.levels.map((name, level) => [`level ${level}`, `best at ${name.slice(0, 40)}`]),
  ]);
}

function fittingSize() {
  const roomForPictures = sheet.parentElement.clientWidth - 256;
  if (roomForPictures < 400) return "s";
  return roomForPictures / data.levels.length > CELL_PIXELS.l ? "l" : "m";
}

function matches(row) {
  const prompt = data.prompts[row.prompt];
  const words = controls.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${prompt.id} ${prompt.text}`.toLowerCase();
  return (!controls.category.value || prompt.category === controls.category.value)
    && (!controls.seed.value || String(row.seed) === controls.seed.value)
    && words.every((word) => text.includes(word)) && isWanted(row);
}

function orderKey(order) {
  const sign = isLowerBetter() ? 1 : -1;
  if (order === "best") return (row) => scaled(sign, mean(rowValues(row)));
  if (order === "worst") return (row) => scaled(-sign, mean(rowValues(row)));
  if (order === "judges") return (row) => scaled(-1, judgesDisagree(row));
  if (order === "disagreement") return (row) => scaled(-1, disagreement(row));
  const level = Number(order.slice("level ".length));
  return (row) => scaled(sign, valueOf(row.runs[level]));
}

const scaled = (sign, value) => value === null ? Infinity : sign * value;

function applyControls() {
  view.measure = Number(controls.measure.value || 0);
  view.rows = rows.filter(matches);
  if (controls.order.value !== "planned") {
    const key = orderKey(controls.order.value);
    const keys = new Map(view.rows.map((row) => [row, key(row)]));
    view.rows.sort((a, b) => (keys.get(a) === keys.get(b) ? 0 : keys.get(a) - keys.get(b)));
  }
  view.active = { row: 0, level: Math.min(view.active.level, data.levels.length - 1) };
  const pictures = view.rows.reduce((sum, row) => sum + row.runs.filter((run) => run >= 0 && !data.run.error[run]).length, 0);
  document.getElementById("count").textContent = `${view.rows.length} of ${rows.length} rows, ${pictures} pictures`;
  build();
}

// Drawing

const cellPixels = () => CELL_PIXELS[controls.size.value];
const rowPixels = () => cellPixels() + CAPTION_PIXELS;

function build() {
  view.rendered.clear();
  sheet.style.setProperty("--cell", `${cellPixels()}px`);
  sheet.style.setProperty("--row", `${rowPixels()}px`);
  sheet.setAttribute("aria-rowcount", view.rows.length + 1);
  sheet.setAttribute("aria-colcount", data.levels.length + 1);
  view.head = element("div", { class: "sheet-row sheet-head", role: "row", "aria-rowindex": "1" },
    element("div", { class: "corner", role: "columnheader" }, element("span", {}, ...atWords(data.variable))),
    ...data.levels.map(columnHead));
  view.body = element("div", { class: "sheet-body" });
  view.body.style.height = `${view.rows.length * rowPixels()}px`;
  const empty = element("p", { class: "empty", textContent: rows.length ? "No prompt matches these filters." : "No pictures yet." });
  sheet.replaceChildren(view.head, view.rows.length ? view.body : empty);
  sheet.scrollTop = 0;
  render();
}

function columnHead(name, level) {
  const average = mean(view.rows.map((row) => valueOf(row.runs[level])).filter((value) => value !== null));
  const isSorted = controls.order.value === `level ${level}`;
  const button = element("button", { type: "button", class: "column-head", title: `${name}: sort by this level`, tabIndex: -1 },
    element("span", { class: "name" }, ...atWords(name)),
    element("small", { textContent: [level === data.baseline ? "baseline" : "", formatted(average)].filter(Boolean).join(" · ") }));
  const head = element("div", { class: "column", role: "columnheader" }, button);
  if (isSorted) head.setAttribute("aria-sort", "descending");
  button.addEventListener("click", () => { controls.order.value = isSorted ? "planned" : `level ${level}`; applyControls(); });
  return head;
}

function render() {
  if (!view.rows.length) return;
  const height = rowPixels();
  const first = Math.max(0, Math.floor(sheet.scrollTop / height) - ROWS_BEYOND_VIEW);
  const last = Math.min(view.rows.length - 1, Math.ceil((sheet.scrollTop + sheet.clientHeight) / height) + ROWS_BEYOND_VIEW);
  for (const [index, node] of view.rendered) {
    if (index < first || index > last) { node.remove(); view.rendered.delete(index); }
  }
  for (let index = first; index <= last; index += 1) {
    if (view.rendered.has(index)) continue;
    const node = drawRow(index);
    view.rendered.set(index, node);
    view.body.append(node);
  }
}

function drawRow(index) {
  const row = view.rows[index];
  const prompt = data.prompts[row.prompt];
  const spread = disagreement(row);
  const facts = [prompt.category, data.rows.length > data.prompts.length ? `seed ${row.seed}` : "", spread === null ? "" : `spread ${formatted(spread)}`];
  const node = element("div", { class: "sheet-row", role: "row", "aria-rowindex": String(index + 2) },
    element("div", { class: "row-head", role: "rowheader", title: prompt.text },
      element("b", {}, ...atWords(prompt.id)),
      element("small", { textContent: facts.filter(Boolean).join(" · ") }),
      element("span", { class: "prompt", textContent: prompt.text })));
  const values = rowValues(row);
  const best = values.length > 1 && data.measures[view.measure].direction !== "none"
    ? (isLowerBetter() ? Math.min(...values) : Math.max(...values)) : null;
  node.append(...row.runs.map((run, level) => drawCell(run, level, index, best)));
  node.style.top = `${index * rowPixels()}px`;
  return node;
}

function drawCell(run, level, index, best) {
  const isActive = view.active.row === index && view.active.level === level;
  const cell = element("div", { class: "cell", role: "gridcell", tabIndex: isActive ? 0 : -1 });
  cell.dataset.row = index;
  cell.dataset.level = level;
  const problem = run < 0 ? "not made" : data.run.error[run];
  if (problem) {
    cell.classList.add("problem");
    cell.append(element("span", { class: "reason", textContent: run < 0 ? problem : `failed: ${problem}`, title: problem }));
    return cell;
  }
  const value = valueOf(run);
  const base = valueOf(view.rows[index].runs[data.baseline]);
  cell.append(element("img", { src: thumbnail(run), loading: "lazy", decoding: "async", alt: `${data.prompts[view.rows[index].prompt].id}, ${data.levels[level]}`, draggable: false }));
  cell.append(element("span", { class: value !== null && value === best ? "score best" : "score", textContent: textOf(run) },
    value === null || base === null || level === data.baseline ? "" : change(value - base)), starButton(run));
  return cell;
}

function change(difference) {
  const direction = data.measures[view.measure].direction;
  const text = formatted(difference, view.measure, true);
  const isBetter = direction === "lower" ? difference < 0 : difference > 0;
  const kind = direction === "none" || Number(text) === 0 ? "" : isBetter ? "better" : "worse";
  return element("em", { class: kind, textContent: text });
}

// Moving

function cellAt(row, level) {
  return view.rendered.get(row)?.querySelector(`[data-level="${level}"]`);
}

function activate(row, level) {
  cellAt(view.active.row, view.active.level)?.setAttribute("tabindex", "-1");
  view.active = { row: Math.max(0, Math.min(view.rows.length - 1, row)), level: Math.max(0, Math.min(data.levels.length - 1, level)) };
  bringIntoView();
  const cell = cellAt(view.active.row, view.active.level);
  cell?.setAttribute("tabindex", "0");
  return cell;
}

function bringIntoView() {
  const headWidth = view.head.firstElementChild.offsetWidth;
  const top = view.active.row * rowPixels();
  const visibleHeight = sheet.clientHeight - view.head.offsetHeight;
  if (top < sheet.scrollTop) sheet.scrollTop = top;
  if (top + rowPixels() > sheet.scrollTop + visibleHeight) sheet.scrollTop = top + rowPixels() - visibleHeight;
  const width = view.head.lastElementChild.offsetWidth;
  const left = view.active.level * width;
  if (left < sheet.scrollLeft) sheet.scrollLeft = left;
  if (left + width > sheet.scrollLeft + sheet.clientWidth - headWidth) sheet.scrollLeft = left + width - sheet.clientWidth + headWidth;
  render();
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-5, 0], PageDown: [5, 0], Home: [0, -Infinity], End: [0, Infinity] };

sheet.addEventListener("keydown", (event) => {
  if (!event.target.closest(".cell") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    openViewer(view.active.row, view.active.level);
  } else if ((event.key === "b" || event.key === "B") && !event.repeat) {
    flipSheet(true);
  } else if (event.key === "s" || event.key === "S") {
    const run = view.rows[view.active.row].runs[view.active.level];
    if (run >= 0) toggleFavourite(run);
  } else if (event.key in MOVES) {
    event.preventDefault();
    const [down, right] = MOVES[event.key];
    activate(view.active.row + down, view.active.level + right)?.focus({ preventScroll: true });
  }
});

function flipSheet(isFlipped) { // every picture in view, or the baseline's of its row
  for (const [index, node] of view.rendered) {
    const { runs } = view.rows[index];
    const base = runs[data.baseline];
    if (base < 0 || data.run.error[base]) continue;
    node.querySelectorAll(".cell img").forEach((image) => { image.src = thumbnail(isFlipped ? base : runs[Number(image.parentElement.dataset.level)]); });
  }
}

sheet.addEventListener("keyup", (event) => { if (event.key === "b" || event.key === "B") flipSheet(false); });
sheet.addEventListener("focusout", () => flipSheet(false));
sheet.addEventListener("click", (event) => {
  const cell = event.target.closest(".cell");
  if (!cell) return;
  activate(Number(cell.dataset.row), Number(cell.dataset.level));
  openViewer(view.active.row, view.active.level);
});

sheet.addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });
new ResizeObserver(() => render()).observe(sheet);
document.getElementById("controls").addEventListener("input", applyControls);
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("theme").addEventListener("click", () => {
  const isDark = (document.documentElement.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  document.documentElement.style.colorScheme = isDark ? "light" : "dark";
});
