// What is kept of the pictures one looks at: favourites, by their runs' ids, in this browser; and the filters that ask for them.

const favouritesKey = `favourites ${data.folder ?? ""} ${data.variable}`;
const favourites = new Set();
const starsOf = (run) => document.querySelectorAll(`[data-star="${run}"]`);

try {
  JSON.parse(localStorage.getItem(favouritesKey) ?? "[]").forEach((name) => favourites.add(name));
} catch { /* a browser that keeps nothing, or something else under this name */ }

function starButton(run) {
  const isKept = favourites.has(data.run.id[run]);
  const button = element("button", { type: "button", class: "star", tabIndex: -1, "aria-pressed": String(isKept), "aria-label": "Favourite", title: "Keep as a favourite (S)", textContent: isKept ? "★" : "☆" });
  button.dataset.star = run;
  return button;
}

function toggleFavourite(run) {
  const name = data.run.id[run];
  if (!favourites.delete(name)) favourites.add(name);
  const isKept = favourites.has(name);
  for (const button of starsOf(run)) {
    button.textContent = isKept ? "★" : "☆";
    button.setAttribute("aria-pressed", String(isKept));
  }
  try {
    localStorage.setItem(favouritesKey, JSON.stringify([...favourites]));
  } catch { /* it is kept for this page only */ }
  tellFavourites();
}

function tellFavourites() {
  const known = data.run.id.filter((name) => favourites.has(name)).length;
  document.getElementById("favourites-export").hidden = !known;
  document.getElementById("favourites-export").textContent = `Export ${known} favourite${known === 1 ? "" : "s"}`;
}

function exportFavourites() {
  const kept = data.run.id.flatMap((name, run) => favourites.has(name) ? [{
    run_id: name, prompt_id: data.prompts[rows[data.run.row[run]].prompt].id, prompt: data.prompts[rows[data.run.row[run]].prompt].text,
    seed: data.run.seed[run], level: data.levels[data.run.level[run]],
    scores: Object.fromEntries(data.measures.map((measure, index) => [measure.title, data.run.values[index][run]])),
  }] : []);
  const file = new Blob([`${JSON.stringify({ variable: data.variable, favourites: kept }, null, 1)}\n`], { type: "application/json" });
  const link = element("a", { href: URL.createObjectURL(file), download: "favourites.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

// Rows by what is kept and by a range of the score; rows by how much the judges disagree

const isInRange = (value) => value !== null && (controls.least.value === "" || value >= Number(controls.least.value)) && (controls.most.value === "" || value <= Number(controls.most.value));

function isWanted(row) {
  const hasRange = controls.least.value !== "" || controls.most.value !== "";
  return (!hasRange || row.runs.some((run) => isInRange(valueOf(run, Number(controls.measure.value || 0)))))
    && (!controls.kept.checked || row.runs.some((run) => run >= 0 && favourites.has(data.run.id[run])));
}

const judges = data.measures.map((measure, index) => [measure, index]).filter(([measure]) => measure.judge).map(([, index]) => index);

function judgesDisagree(row) { // 0 where all judges order the levels alike, 1 where two order them the other way round
  const found = judges.flatMap((one, at) => judges.slice(at + 1).map((other) => {
    const both = row.runs.filter((run) => valueOf(run, one) !== null && valueOf(run, other) !== null);
    if (both.length < 2) return null;
    const [first, second] = [one, other].map((measure) => ranks(both.map((run) => (isLowerBetter(measure) ? -1 : 1) * valueOf(run, measure))));
    return correlation(first, second);
  })).filter((value) => value !== null);
  return found.length ? (1 - mean(found)) / 2 : null;
}

function ranks(values) { // equal values share the mean of their ranks
  const sorted = [...values].sort((one, other) => one - other);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2);
}

function correlation(one, other) {
  const [x, y] = [mean(one), mean(other)];
  const sum = (pick) => one.reduce((total, _, at) => total + pick(one[at] - x, other[at] - y), 0);
  const length = Math.sqrt(sum((a) => a * a) * sum((_, b) => b * b));
  return length ? sum((a, b) => a * b) / length : null;
}

document.addEventListener("click", (event) => {
  const star = event.target.closest("[data-star]");
  if (!star) return;
  event.stopPropagation();
  toggleFavourite(Number(star.dataset.star));
}, { capture: true });
document.getElementById("favourites-export").addEventListener("click", exportFavourites);
tellFavourites();
