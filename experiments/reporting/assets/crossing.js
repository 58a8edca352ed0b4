// One prompt, two axes: rows are levels of one, columns of the other, what is left is chosen by sliders. All pictures share
// one zoom; a key that is held shows the baseline in every place, another what differs from it.

const cross = { zoom: 1, x: 0, y: 0, drag: null, fixed: [] };
const crossSection = document.getElementById("cross");
const crossForm = document.getElementById("cross-controls").elements;
const crossTable = document.getElementById("cross-table");
const crossAxes = (data.axes ?? []).map((axis, index) => ({ ...axis, index })).filter((axis) => axis.levels.length > 1);
const MOST_ZOOM = 16;
const DIFFERENCE_GAIN = 8;

function buildCross() {
  const names = crossAxes.map((axis) => [String(axis.index), axis.name]);
  const offer = (select, pairs) => select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
  offer(crossForm["cross-rows"], names);
  offer(crossForm["cross-columns"], names);
  crossForm["cross-columns"].value = names[1][0];
  offer(crossForm["cross-prompt"], rows.map((row, index) => [String(index), `${data.prompts[row.prompt].id}${data.rows.length > data.prompts.length ? `, seed ${row.seed}` : ""}`]));
  cross.fixed = data.axes.map((axis, index) => data.cells[data.baseline][index]);
  drawCross();
}

function drawSliders() {
  const others = crossAxes.filter((axis) => ![Number(crossForm["cross-rows"].value), Number(crossForm["cross-columns"].value)].includes(axis.index));
  document.getElementById("cross-sliders").replaceChildren(...others.map((axis) => {
    const told = element("output", { textContent: axis.levels[cross.fixed[axis.index]] });
    const slider = element("input", { type: "range", min: 0, max: axis.levels.length - 1, value: cross.fixed[axis.index], "aria-valuetext": told.textContent });
    slider.addEventListener("input", () => {
      cross.fixed[axis.index] = Number(slider.value);
      told.textContent = axis.levels[slider.value];
      slider.setAttribute("aria-valuetext", told.textContent);
      fillCross();
    });
    return element("label", {}, `${axis.name} `, told, slider);
  }));
}

function drawCross() {
  if (crossForm["cross-rows"].value === crossForm["cross-columns"].value) crossForm["cross-columns"].value = String(crossAxes.find((axis) => String(axis.index) !== crossForm["cross-rows"].value).index);
  drawSliders();
  fillCross();
}

const levelOfCell = (levels) => data.cells.findIndex((cell) => cell.every((level, index) => level === levels[index]));

function fillCross() {
  const [down, across] = [Number(crossForm["cross-rows"].value), Number(crossForm["cross-columns"].value)];
  const row = rows[Number(crossForm["cross-prompt"].value)];
  const base = row.runs[data.baseline];
  const head = element("tr", {}, element("th", {}, ...atWords(`${data.axes[down].name} ╲ ${data.axes[across].name}`)), ...data.axes[across].levels.map((name) => element("th", { scope: "col" }, ...atWords(name))));
  const body = data.axes[down].levels.map((name, at) => element("tr", {}, element("th", { scope: "row" }, ...atWords(name)), ...data.axes[across].levels.map((_, column) => {
    const levels = cross.fixed.map((level, index) => index === down ? at : index === across ? column : level);
    return crossCell(row, levelOfCell(levels), base);
  })));
  crossTable.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  crossTable.style.setProperty("--columns", data.axes[across].levels.length);
  document.getElementById("cross-text").textContent = data.prompts[row.prompt].text;
  moveCross();
}

function crossCell(row, level, base) {
  const run = row.runs[level];
  if (run < 0 || data.run.error[run]) return element("td", {}, element("span", { class: "reason", textContent: run < 0 ? "not made" : data.run.error[run] }));
  const layers = element("div", { class: "cross-layers" }, element("img", { src: picture(run), alt: data.levels[level], draggable: false }));
  if (base >= 0 && !data.run.error[base]) layers.append(element("img", { src: picture(base), alt: "", class: "base", draggable: false }));
  const cell = element("td", { class: level === data.baseline ? "is-baseline" : "" }, element("div", { class: "cross-window" }, layers), element("small", {}, textOf(run), " ", starButton(run)));
  cell.dataset.run = run;
  return cell;
}

function moveCross() {
  const least = 1 - cross.zoom;
  cross.x = Math.min(0, Math.max(least, cross.x));
  cross.y = Math.min(0, Math.max(least, cross.y));
  for (const [name, value] of [["--zoom", cross.zoom], ["--x", `${100 * cross.x}%`], ["--y", `${100 * cross.y}%`]]) crossTable.style.setProperty(name, value);
  document.getElementById("cross-zoom").textContent = `${cross.zoom.toFixed(1)} ×`;
}

function zoomCross(factor, at = { x: 0.5, y: 0.5 }) { // the point under the pointer stays where it is
  const zoom = Math.min(MOST_ZOOM, Math.max(1, cross.zoom * factor));
  cross.x = at.x - (at.x - cross.x) * (zoom / cross.zoom);
  cross.y = at.y - (at.y - cross.y) * (zoom / cross.zoom);
  cross.zoom = zoom;
  moveCross();
}

function showBaseline(isShown) { crossTable.classList.toggle("flipped", isShown); }
function showDifference(isShown) {
  crossTable.classList.toggle("difference", isShown);
  document.getElementById("cross-difference").setAttribute("aria-pressed", String(isShown));
}

const placeIn = (box, event) => ({ x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });

if (crossAxes.length > 1) {
  crossSection.hidden = false;
  crossSection.addEventListener("toggle", () => { if (crossSection.open && !crossTable.childElementCount) buildCross(); });
  document.getElementById("cross-controls").addEventListener("input", (event) => { if (event.target.tagName === "SELECT") drawCross(); });
  document.getElementById("cross-controls").addEventListener("submit", (event) => event.preventDefault());
  crossTable.addEventListener("wheel", (event) => {
    const box = event.target.closest(".cross-window")?.getBoundingClientRect();
    if (!box) return;
    event.preventDefault();
    zoomCross(1.0015 ** -event.deltaY, placeIn(box, event));
  }, { passive: false });
  crossTable.addEventListener("pointerdown", (event) => {
    const box = event.target.closest(".cross-window")?.getBoundingClientRect();
    if (box) cross.drag = { box, x: cross.x - placeIn(box, event).x, y: cross.y - placeIn(box, event).y };
  });
  addEventListener("pointermove", (event) => {
    if (!cross.drag) return;
    const at = placeIn(cross.drag.box, event);
    Object.assign(cross, { x: cross.drag.x + at.x, y: cross.drag.y + at.y });
    moveCross();
  });
  addEventListener("pointerup", () => { cross.drag = null; });
  crossSection.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || ["SELECT", "INPUT"].includes(event.target.tagName)) return;
    if (event.key === "b" || event.key === "B") showBaseline(true);
    else if (event.key === "d" || event.key === "D") showDifference(!crossTable.classList.contains("difference"));
    else if (event.key === "+" || event.key === "=") zoomCross(1.25);
    else if (event.key === "-") zoomCross(0.8);
    else if (event.key === "0") { Object.assign(cross, { zoom: 1, x: 0, y: 0 }); moveCross(); }
  });
  crossSection.addEventListener("keyup", (event) => { if (event.key === "b" || event.key === "B") showBaseline(false); });
  crossTable.addEventListener("blur", () => showBaseline(false));
  const flipButton = document.getElementById("cross-flip");
  flipButton.addEventListener("pointerdown", () => showBaseline(true));
  for (const name of ["pointerup", "pointerleave", "pointercancel"]) flipButton.addEventListener(name, () => showBaseline(false));
  document.getElementById("cross-difference").addEventListener("click", () => showDifference(!crossTable.classList.contains("difference")));
}
