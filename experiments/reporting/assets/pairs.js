// The pairs that are farthest from the baseline, by a measure of pairs; one opens in the viewer beside the baseline's.

const PAIRS_SHOWN = 12;
const pairSection = document.getElementById("pairs");

function pairsOf(measure, level) {
  const sign = data.measures[measure].closer === "higher" ? 1 : -1;
  return rows
    .flatMap((row) => row.runs.map((run, at) => ({ row, run, level: at, base: row.runs[data.baseline] })))
    .filter((pair) => pair.level !== data.baseline && (level === "" || pair.level === Number(level)) && pair.run >= 0 && pair.base >= 0)
    .filter((pair) => !data.run.error[pair.run] && !data.run.error[pair.base] && ![null, data.measures[measure].equal].includes(valueOf(pair.run, measure)))
    .sort((a, b) => sign * (valueOf(a.run, measure) - valueOf(b.run, measure)));
}

function drawPairs() {
  const form = document.getElementById("pair-controls").elements;
  const measure = Number(form.measure.value);
  const pairs = pairsOf(measure, form.level.value);
  document.getElementById("pair-count").textContent = pairs.length > PAIRS_SHOWN ? `${PAIRS_SHOWN} of ${pairs.length} pairs that differ` : `${pairs.length} pairs that differ`;
  document.getElementById("pair-list").replaceChildren(...pairs.slice(0, PAIRS_SHOWN).map((pair) => drawPair(pair, measure)));
}

function drawPair(pair, measure, told = `${data.measures[measure].title} ${formatted(valueOf(pair.run, measure), measure)} ${data.measures[measure].unit}`) {
  const prompt = data.prompts[pair.row.prompt];
  const value = told.trim();
  const seed = data.rows.length > data.prompts.length ? `, seed ${pair.row.seed}` : "";
  const image = (run, level) => element("img", { src: thumbnail(run), loading: "lazy", decoding: "async", alt: data.levels[level], draggable: false });
  const button = element("button", { type: "button", class: "pair", title: prompt.text },
    element("span", { class: "pair-images" }, image(pair.base, pair.other ?? data.baseline), image(pair.run, pair.level)),
    element("b", { textContent: `${data.levels[pair.level]}: ${value}` }),
    element("small", { textContent: `${prompt.id}${seed}` }));
  button.addEventListener("click", () => openPair(pair, button));
  return element("li", {}, button);
}

function openPair(pair, opener) {
  let at = view.rows.indexOf(pair.row);
  if (at < 0) { // a filter of the grid hides it
    document.getElementById("controls").reset();
    controls.size.value = fittingSize();
    applyControls();
    at = view.rows.indexOf(pair.row);
  }
  openViewer(at, pair.level, { other: String(pair.other ?? data.baseline), mode: "flip", opener });
}

const pairMeasures = data.measures.flatMap((measure, index) => measure.closer && pairsOf(index, "").length ? [[index, measure]] : []);
pairSection.hidden = !pairMeasures.length;
document.querySelector('.sections a[href="#pairs"]').hidden = !pairMeasures.length;
if (pairMeasures.length) {
  const form = document.getElementById("pair-controls");
  const levels = data.levels.map((name, level) => [String(level), name]).filter(([level]) => Number(level) !== data.baseline);
  form.elements.measure.replaceChildren(...pairMeasures.map(([index, measure]) => element("option", { value: String(index), textContent: measure.title })));
  form.elements.level.replaceChildren(...[["", `all (${levels.length})`], ...levels].map(([value, text]) => element("option", { value, textContent: text })));
  form.addEventListener("input", drawPairs);
  form.addEventListener("submit", (event) => event.preventDefault());
  drawPairs();
}
