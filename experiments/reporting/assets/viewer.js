// One picture enlarged, or two: under a slider, one in place of the other, or what differs; and all that is known of it.

const viewer = document.getElementById("viewer");
const stage = document.getElementById("stage");
const split = document.getElementById("split");
const otherSelect = document.getElementById("viewer-other");
const modeSelect = document.getElementById("viewer-mode");
const shown = { row: 0, level: 0, other: "", pinned: -1, mode: "split", names: [], isFlipped: false, flippedAt: 0, opener: null };
const HOLD_MS = 350; // a key held longer than this flips only while it is held
const BANDS_NOTE = "Labels are rules of thumb; compare within this experiment.";

const currentRun = () => view.rows[shown.row].runs[shown.level];

function openViewer(row, level, { other = "", mode = shown.mode, opener = null } = {}) {
  if (view.rows[row].runs[level] < 0) return;
  Object.assign(shown, { row, level, other, mode, opener, isFlipped: false });
  draw();
  viewer.showModal();
  stage.focus({ preventScroll: true });
}

function step(down, right) {
  let { row, level } = shown;
  do {
    row += down;
    level += right;
    if (row < 0 || row >= view.rows.length || level < 0 || level >= data.levels.length) return;
  } while (view.rows[row].runs[level] < 0);
  Object.assign(shown, { row, level });
  draw();
}

function otherRun() {
  if (shown.other === "pinned") return shown.pinned;
  return shown.other === "" ? -1 : view.rows[shown.row].runs[Number(shown.other)];
}

function toggleCompare() {
  if (shown.other !== "") shown.other = "";
  else if (shown.pinned >= 0 && shown.pinned !== currentRun()) shown.other = "pinned";
  else shown.other = String(shown.level === data.baseline ? (data.baseline + 1) % data.levels.length : data.baseline);
  draw();
}

function flip() {
  if (!stage.classList.contains("comparing")) return;
  if (shown.mode !== "flip") setMode("flip");
  shown.isFlipped = !shown.isFlipped;
  showFlip();
}

function showFlip() {
  stage.classList.toggle("flipped", shown.isFlipped);
  if (stage.classList.contains("flip")) stage.querySelector(".side").textContent = shown.names[shown.isFlipped ? 0 : 1];
}

function setMode(mode) {
  Object.assign(shown, { mode, isFlipped: false });
  draw();
}

function toggleDifference() {
  if (shown.other === "") toggleCompare();
  setMode(shown.mode === "difference" ? "split" : "difference");
}

function pin() {
  shown.pinned = shown.pinned === currentRun() ? -1 : currentRun();
  if (shown.other === "pinned" && shown.pinned < 0) shown.other = "";
  draw();
}

function nameOf(run) {
  const row = rows[data.run.row[run]];
  return `${data.prompts[row.prompt].id}, ${data.levels[data.run.level[run]]}, seed ${data.run.seed[run]}`;
}

function draw() {
  const run = currentRun();
  const prompt = data.prompts[view.rows[shown.row].prompt];
  document.getElementById("viewer-level").textContent = `${data.variable} ${data.levels[shown.level]}`;
  document.getElementById("viewer-prompt").textContent = `${prompt.id} · seed ${data.run.seed[run]}`;
  document.getElementById("viewer-pin").textContent = shown.pinned === run ? "Unpin" : "Pin";
  drawChoices(run);
  drawStage(run, otherRun());
  document.getElementById("details").replaceChildren(...details(run, prompt));
  for (const neighbour of [shown.level - 1, shown.level + 1]) {
    const next = view.rows[shown.row].runs[neighbour] ?? -1;
    if (next >= 0 && !data.run.error[next]) new Image().src = picture(next);
  }
}

function drawChoices(run) {
  const choices = [["", "nothing"]];
  if (shown.pinned >= 0) choices.push(["pinned", `pinned: ${nameOf(shown.pinned)}`]);
  view.rows[shown.row].runs.forEach((other, level) => {
    if (other >= 0 && other !== run && !data.run.error[other]) choices.push([String(level), data.levels[level]]);
  });
  if (!choices.some(([value]) => value === shown.other) || otherRun() === run) shown.other = "";
  otherSelect.replaceChildren(...choices.map(([value, text]) => element("option", { value, textContent: text })));
  otherSelect.value = shown.other;
}

function drawStage(run, other) {
  const problem = data.run.error[run];
  const isComparing = other >= 0 && !problem;
  stage.classList.toggle("comparing", isComparing);
  for (const mode of ["split", "flip", "difference"]) stage.classList.toggle(mode, isComparing && shown.mode === mode);
  split.hidden = !isComparing || shown.mode !== "split";
  modeSelect.value = shown.mode;
  modeSelect.disabled = !isComparing;
  if (problem) {
    stage.replaceChildren(element("p", { class: "reason", textContent: problem }));
    return;
  }
  const layers = [element("img", { src: picture(run), alt: nameOf(run), draggable: false })];
  const names = [];
  if (isComparing) {
    layers.push(element("img", { src: picture(other), alt: nameOf(other), class: "over", draggable: false }));
    shown.names = [shown.other === "pinned" ? nameOf(other) : data.levels[data.run.level[other]], data.levels[shown.level]];
    if (shown.mode === "flip") names.push(element("span", { class: "side left", role: "status" }));
    else names.push(...shown.names.map((name, at) => element("span", { class: at ? "side right" : "side left", textContent: name })));
    if (shown.mode === "split") names.push(element("span", { class: "seam" }));
  }
  stage.replaceChildren(element("div", { class: "layers" }, ...layers), ...names);
  moveSeam();
  showFlip();
}

function moveSeam() {
  stage.style.setProperty("--split", `${split.value}%`);
}

// Everything about one run

const webPage = location.pathname.match(/^\/results\/[^/]+\/([^/]+)\/report\.html$/); // served by web/, not opened as a file

function details(run, prompt) {
  const parts = [scoreTable(run), element("h4", { textContent: "Prompt" }), element("p", { class: "text", textContent: prompt.text })];
  if (prompt.must_show.length) parts.push(element("p", { class: "note", textContent: `Must show: ${prompt.must_show.join("; ")}` }));
  parts.push(element("h4", { textContent: "Formatted prompt" }), element("pre", { textContent: data.formatted[data.run.formatted[run]] }));
  parts.push(element("h4", { textContent: "Parameters" }), parameterTable(run));
  if (!data.run.picture && !data.run.error[run]) {
    const name = encodeURIComponent(data.run.id[run]);
    parts.push(element("p", { class: "links" },
      element("a", { href: `images/${name}.png`, textContent: "Picture file", target: "_blank", rel: "noopener" }), " · ",
      element("a", { href: `metadata/${name}.json`, textContent: "Whole record", target: "_blank", rel: "noopener" }),
      ...(webPage ? [" · ", element("a", { href: `/?run=${webPage[1]}/${name}`, textContent: "Open in Generate", target: "_blank", rel: "noopener" })] : [])));
  }
  return parts;
}

function scoreTable(run) {
  const other = otherRun();
  const lines = data.measures.flatMap((measure, index) => {
    const value = valueOf(run, index);
    if (!textOf(run, index)) return [];
    const label = measure.bands.length ? (measure.bands.find(([, above]) => value > above)?.[0] ?? measure.below) : "";
    const beside = other >= 0 && !measure.closer && value !== null && valueOf(other, index) !== null ? formatted(value - valueOf(other, index), index, true) : "";
    return [tableLine(measure.title, `${textOf(run, index)} ${measure.unit}`.trim(), beside || label)];
  });
  const hasBands = other < 0 && data.measures.some((measure) => measure.bands.length);
  const head = other >= 0 ? tableLine("", "this one", "minus the other") : "";
  return element("div", {}, element("table", { class: "scores" }, head, ...lines), hasBands ? element("p", { class: "note", textContent: BANDS_NOTE }) : "");
}

function tableLine(name, ...values) {
  return element("tr", {}, element("th", { textContent: name }), ...values.map((value) => element("td", { textContent: value })));
}

function parameterTable(run) {
  const shownValue = (value) => value === null ? "none" : value === "" ? "empty" : String(value);
  const varying = Object.entries(data.parameters.varying).map(([name, { values, of_run: positions }]) => [name, values[positions[run]]]);
  const facts = Object.entries(data.run.facts).map(([name, values]) => [name, values[run]]).filter(([, value]) => value !== null);
  const lines = [...varying, ["seed", data.run.seed[run]], ...facts, ...Object.entries(data.parameters.common)];
  return element("table", { class: "parameters" }, ...lines.map(([name, value]) => tableLine(name, shownValue(value))));
}

// Events

viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === otherSelect || event.target === modeSelect) return;
  const isSlider = event.target === split;
  if (event.key in MOVES && event.key.startsWith("Arrow") && !isSlider) { event.preventDefault(); step(...MOVES[event.key]); }
  else if (event.key === "c" || event.key === "C") toggleCompare();
  else if (event.key === "p" || event.key === "P") pin();
  else if (event.key === "s" || event.key === "S") toggleFavourite(currentRun());
  else if (event.key === "d" || event.key === "D") toggleDifference();
  else if ((event.key === "f" || event.key === "F") && !event.repeat) {
    if (shown.other === "") toggleCompare();
    shown.flippedAt = event.timeStamp;
    flip();
  }
});
viewer.addEventListener("keyup", (event) => {
  if ((event.key === "f" || event.key === "F") && event.timeStamp - shown.flippedAt > HOLD_MS) flip();
});
viewer.addEventListener("close", () => {
  document.getElementById("details").scrollTop = 0;
  const cell = activate(shown.row, shown.level);
  (shown.opener ?? cell)?.focus({ preventScroll: true });
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
document.getElementById("viewer-pin").addEventListener("click", pin);
modeSelect.addEventListener("change", () => setMode(modeSelect.value));
document.getElementById("viewer-flip").addEventListener("click", flip);
otherSelect.addEventListener("change", () => { shown.other = otherSelect.value; draw(); });
split.addEventListener("input", moveSeam);
document.querySelectorAll("[data-step]").forEach((button) => {
  button.addEventListener("click", () => step(...button.dataset.step.split(",").map(Number)));
});

function followPointer(event) {
  if (!stage.classList.contains("split") || event.buttons !== 1) return;
  const box = stage.getBoundingClientRect();
  split.value = (100 * (event.clientX - box.left)) / box.width;
  moveSeam();
}
stage.addEventListener("pointerdown", (event) => { if (stage.classList.contains("split")) stage.setPointerCapture(event.pointerId); followPointer(event); });
stage.addEventListener("pointermove", followPointer);

fillControls();
applyControls();
