// New, starred and deleted images come into the gallery as they happen, and nothing that one looks at moves: while one
// has scrolled, points at a card or has selected some, new ones wait behind a button.
import { byId, call, onNews } from "./common.js";
import { isViewerOpen } from "./viewer.js";

const AT_ONCE = 100;
const TOP_PX = 40;

const gallery = byId("gallery");
const button = byId("new-images");
let known = Number(gallery.dataset.version);
let latest = known;
let isAsking = false;
let waiting = []; // cards, newest first
let searchText, selection, onCount;

const cardOf = (id) => gallery.querySelector(`.card[data-id="${CSS.escape(id)}"]`);

async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    do await ask(); while (latest > known);
  } catch { /* no answer: the next news asks again */ }
  isAsking = false;
}

async function ask() {
  const asked = searchText();
  const { version, images, gone } = await call("GET", `/api/history/changes?since=${known}`);
  if (images === null) await askForAll(asked);
  else {
    const fresh = [];
    for (const image of images) {
      const card = cardOf(image.id);
      if (card) showStar(card, image.is_starred);
      else fresh.push(image.id);
    }
    const asking = fresh.length ? fresh : gone.slice(0, 1); // the count comes with any answer
    for (const query of inParts(asking)) keep(await cardsOf({ ...query, search: asked }), asked);
    gone.forEach(takeAway);
  }
  showWaiting();
  if (asked !== searchText()) return; // another list is there by now, which is newer
  known = version;
  latest = Math.max(latest, version);
}

// Another server, or more than it remembers: what is shown is looked at whole, and the newest page with it.
async function askForAll(asked) {
  for (const query of inParts([...gallery.querySelectorAll(".card")].map((card) => card.dataset.id))) {
    const there = new Map((await cardsOf(query)).cards.map((card) => [card.dataset.id, card]));
    for (const id of query.ids.split(",")) {
      const card = cardOf(id);
      if (!there.has(id)) takeAway(id);
      else if (card) showStar(card, "starred" in there.get(id).dataset);
    }
  }
  keep(await cardsOf({ search: asked }), asked);
}

function* inParts(ids) {
  for (let first = 0; first < ids.length; first += AT_ONCE) yield { ids: ids.slice(first, first + AT_ONCE).join(",") };
}

async function cardsOf(query) {
  const answer = await fetch(`/history/cards?${new URLSearchParams(query)}`);
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();
  return { cards: [...holder.content.querySelectorAll(".card")], count: Number(answer.headers.get("X-Total-Count")) };
}

function keep({ cards, count }, asked) {
  if (asked !== searchText()) return;
  waiting = [...waiting, ...cards.filter((card) => isInShownPages(card) && !isThere(card))];
  waiting.sort((one, other) => other.dataset.number - one.dataset.number);
  onCount(count);
}

const isThere = (card) => cardOf(card.dataset.id) || waiting.some((other) => other.dataset.id === card.dataset.id);

// An older image that fits the search only now belongs further down, where its page will bring it.
function isInShownPages(card) {
  const end = gallery.querySelector(".more button");
  return !end || Number(card.dataset.number) >= Number(end.dataset.before);
}

const isUndisturbed = () => scrollY < TOP_PX && !gallery.matches(":hover") && !gallery.contains(document.activeElement)
  && selection.isEmpty() && !isViewerOpen();

function showWaiting() {
  if (waiting.length && isUndisturbed()) bringIn();
  button.hidden = waiting.length === 0;
  button.textContent = waiting.length === 1 ? "1 new image" : `${waiting.length} new images`;
}

function bringIn() {
  for (const card of waiting) {
    const older = [...gallery.querySelectorAll(".card")].find((other) => Number(other.dataset.number) < Number(card.dataset.number));
    gallery.insertBefore(card, older ?? gallery.querySelector(".more"));
  }
  waiting = [];
  button.hidden = true;
  byId("nothing").hidden = true;
}

button.addEventListener("click", () => {
  bringIn();
  scrollTo({ top: 0 });
  gallery.querySelector("a")?.focus({ preventScroll: true });
});
document.addEventListener("scroll", showWaiting, { passive: true });
gallery.addEventListener("pointerleave", showWaiting);
gallery.addEventListener("focusout", () => setTimeout(showWaiting));

function showStar(card, isStarred) {
  card.toggleAttribute("data-starred", isStarred);
  card.querySelector(".star").setAttribute("aria-pressed", isStarred);
}

// What others delete leaves its place empty where one can see it, and goes where one can't.
function takeAway(id) {
  waiting = waiting.filter((card) => card.dataset.id !== id);
  const card = cardOf(id);
  selection.forget([id]);
  if (!card) return;
  if (card.getBoundingClientRect().top > innerHeight) card.remove();
  else {
    card.dataset.state = "deleted";
    card.querySelector(".card-image").replaceWith(emptyPlace());
    card.querySelectorAll(".pick, .star, .card-actions").forEach((part) => part.remove());
  }
}

function emptyPlace() {
  const place = document.createElement("div");
  place.className = "card-image";
  const text = document.createElement("span");
  text.className = "no-image";
  text.textContent = "deleted";
  place.append(text);
  return place;
}

// What the page says: `searchText()` is the search that is shown, `onCount(count)` hears how many images it finds.
export function followHistory(page) {
  ({ searchText, selection, onCount } = page);
  onNews((news) => {
    latest = news.history;
    if (latest !== known) refresh();
  });
  return { refresh, forgetWaiting: () => { waiting = []; showWaiting(); } };
}
