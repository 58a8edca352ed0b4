// The thumbnails under the canvas: a picture that is chosen there is shown in place, with arrows from one to the next.
import { byId, call, onNews } from "./common.js";

const SHOWN = 16;

const strip = byId("recent");
const older = byId("older-button");
const newer = byId("newer-button");
let known = Number(strip.dataset.version);
let chosenId = null;
let onChoose = () => {};

const links = () => [...strip.querySelectorAll("a")];
const idOf = (link) => link.dataset.id;
const pictureOf = (link) => ({
  id: idOf(link), title: link.querySelector("img").alt, params: JSON.parse(link.dataset.params),
});
const place = () => links().findIndex((link) => idOf(link) === chosenId);

// The one that is shown is marked, and the arrows know what is beside it.
function mark(id) {
  chosenId = id;
  for (const link of links()) {
    if (idOf(link) === id) {
      link.setAttribute("aria-current", "true");
      strip.scrollLeft = link.offsetLeft - strip.offsetLeft - (strip.clientWidth - link.offsetWidth) / 2;
    } else link.removeAttribute("aria-current");
  }
  showArrows();
}

function showArrows() {
  newer.disabled = !beside(-1);
  older.disabled = !beside(1);
  newer.hidden = older.hidden = links().length < 2 && !(links().length && place() < 0);
}

// Newer pictures stand on the left. Where none of them is shown, the way into them is from the left end.
function beside(direction) {
  const link = links()[place() < 0 ? (direction > 0 ? 0 : -1) : place() + direction];
  return link ? pictureOf(link) : null;
}

function step(direction) {
  const picture = beside(direction);
  if (picture) onChoose(picture);
}

strip.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  onChoose(pictureOf(link));
});
newer.addEventListener("click", () => step(-1));
older.addEventListener("click", () => step(1));
for (const part of [strip, byId("canvas")]) {
  part.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    step(direction);
    if (part === strip) links()[place()]?.focus({ preventScroll: true });
  });
}

// Puts an image in its place, newest first; those that came with the page are older than all that it hears of.
function add(job) {
  if (job.version <= document.body.dataset.since || links().some((link) => idOf(link) === job.id)) return;
  const link = document.createElement("a");
  link.href = `/history/${job.id}`;
  link.dataset.id = job.id;
  link.dataset.version = job.version;
  link.dataset.params = JSON.stringify(job.request);
  const image = new Image(64, 64);
  image.src = `${job.image}/thumbnail`;
  image.alt = job.title;
  link.append(image);
  strip.insertBefore(link, links().find((other) => !(other.dataset.version > job.version)) ?? null);
  for (const old of links().slice(SHOWN)) old.remove();
  mark(chosenId);
}

// What was deleted elsewhere can't be shown any more.
onNews(async (news) => {
  if (!news.history || news.history === known) return;
  try {
    const { version, gone } = await call("GET", `/api/history/changes?since=${known}`);
    known = version;
    for (const link of links()) if (gone?.includes(idOf(link)) && idOf(link) !== chosenId) link.remove();
    showArrows();
  } catch { /* no answer: the next news asks again */ }
});

// Says which picture stands before (-1) or after (1) the one of an id.
function besideOf(id, direction) {
  const all = links();
  const next = all[all.findIndex((link) => idOf(link) === id) + direction];
  return all.some((link) => idOf(link) === id) && next ? pictureOf(next) : null;
}

// `handle(picture)` hears of a picture `{ id, title, params }` that one chose.
export function offerStrip(handle) {
  onChoose = handle;
  showArrows();
  return { add, mark, newest: () => (links().length ? pictureOf(links()[0]) : null), beside: besideOf };
}
