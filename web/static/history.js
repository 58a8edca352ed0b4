// The History page: search, more pages, several at once, and what others make and delete meanwhile.
import "./viewer.js";
import { byId, call, showMessage } from "./common.js";
import { followHistory } from "./live_history.js";
import { offerSelection } from "./selection.js";

const gallery = byId("gallery");
const form = byId("search-form");
const search = byId("search");
const SEARCH_DELAY_MS = 250;

// --- search -----------------------------------------------------------------------------------------------------------

let shownSearch = search.value.trim();
let searchRequest = null;
let searchTimer = null;
const selection = offerSelection(removeCards);
const live = followHistory({ searchText: () => shownSearch, selection, onCount: showCount });

async function show(text) {
  clearTimeout(searchTimer);
  searchRequest?.abort();
  searchRequest = new AbortController();
  markTerms();
  if (text === shownSearch && byId("search-problem").hidden) return;
  try {
    const answer = await cardsOf({ search: text }, searchRequest.signal);
    shownSearch = text;
    gallery.innerHTML = answer.html;
    history.replaceState(null, "", text ? `/history?search=${encodeURIComponent(text)}` : "/history");
    showProblem("");
    selection.clear();
    live.forgetWaiting();
    showCount(answer.count);
    byId("nothing").hidden = answer.count > 0;
    watchEnd();
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error.message);
  }
}

async function cardsOf(query, signal) {
  const answer = await fetch(`/history/cards?${new URLSearchParams(query)}`, { signal });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return { html: await answer.text(), count: Number(answer.headers.get("X-Total-Count")) };
}

function showProblem(sentence) {
  byId("search-problem").hidden = !sentence;
  byId("search-problem").textContent = sentence;
  search.toggleAttribute("aria-invalid", Boolean(sentence));
  if (sentence) search.setAttribute("aria-invalid", "true");
}

function showCount(count) {
  const images = count === 1 ? "1 image" : `${count} images`;
  byId("history-count").textContent = shownSearch ? `${images} found` : images;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  show(search.value.trim());
});
search.addEventListener("input", () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => show(search.value.trim()), SEARCH_DELAY_MS);
});

// A term that is there goes, another is added.
document.addEventListener("click", (event) => {
  const term = event.target.closest("[data-term]")?.dataset.term;
  if (!term) return;
  const text = ` ${search.value} `;
  search.value = (text.includes(` ${term} `) ? text.replace(` ${term} `, " ") : `${search.value} ${term}`).trim();
  show(search.value);
});

function markTerms() {
  const button = form.querySelector("[data-term]");
  button.setAttribute("aria-pressed", ` ${search.value} `.includes(` ${button.dataset.term} `));
}

// --- further pages ------------------------------------------------------------------------------------------------------

const isNear = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), {
  rootMargin: "600px",
});

function watchEnd() {
  isNear.disconnect();
  const end = gallery.querySelector(".more");
  if (end) isNear.observe(end);
}

let isFetchingMore = false;
async function more() {
  const end = gallery.querySelector(".more");
  if (!end || isFetchingMore) return;
  isFetchingMore = true;
  const asked = shownSearch;
  try {
    const answer = await cardsOf({ search: asked, before: end.firstElementChild.dataset.before });
    if (asked === shownSearch) end.outerHTML = answer.html;
  } catch (error) {
    showMessage(error.message);
  }
  isFetchingMore = false;
  watchEnd();
}

gallery.addEventListener("click", (event) => {
  if (event.target.closest(".more button")) more();
});

// --- one card -----------------------------------------------------------------------------------------------------------

gallery.addEventListener("click", async (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  const card = event.target.closest(".card");
  if (!action || !card) return;
  try {
    if (action === "star") await call("PATCH", `/api/history/${card.dataset.id}`, { is_starred: !("starred" in card.dataset) });
    else if (confirm("Delete this image?")) {
      await call("DELETE", `/api/history/${card.dataset.id}`);
      removeCards([card.dataset.id]);
    }
    live.refresh();
  } catch (error) {
    showMessage(error.message);
  }
});

function removeCards(ids) {
  for (const id of ids) gallery.querySelector(`.card[data-id="${CSS.escape(id)}"]`)?.remove();
  selection.forget(ids);
}

markTerms();
watchEnd();
