// Several cards at once: boxes, Ctrl and a click, Shift and a click for all between, and what is done with them.
import { byId, call, showMessage } from "./common.js";

const gallery = byId("gallery");
const selected = new Set();
const bar = byId("selection-bar");
let anchor = null; // where a range begins
let remove = () => {};

const cards = () => [...gallery.querySelectorAll(".card:not([data-state=deleted])")];
const ids = () => cards().map((card) => card.dataset.id).filter((id) => selected.has(id)); // as they are shown

function show() {
  for (const card of cards()) {
    const isSelected = selected.has(card.dataset.id);
    card.classList.toggle("selected", isSelected);
    card.querySelector(".pick input").checked = isSelected;
  }
  const count = selected.size;
  bar.hidden = count === 0;
  gallery.classList.toggle("selecting", count > 0);
  byId("selection-text").textContent = count === 1 ? "1 selected" : `${count} selected`;
  byId("compare-selected").disabled = madeIds().length !== 2;
  byId("zip-selected").disabled = madeIds().length === 0;
}

const madeIds = () =>
  cards().filter((card) => card.dataset.state === "done" && selected.has(card.dataset.id)).map((card) => card.dataset.id);

function toggle(card, isRange) {
  const all = cards();
  const from = all.findIndex((other) => other.dataset.id === anchor);
  if (isRange && from >= 0) {
    const ends = [from, all.indexOf(card)].sort((one, other) => one - other);
    for (const other of all.slice(ends[0], ends[1] + 1)) selected.add(other.dataset.id);
  } else {
    if (!selected.delete(card.dataset.id)) selected.add(card.dataset.id);
    anchor = card.dataset.id;
  }
  show();
}

gallery.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (!card || event.target.closest("[data-action], .card-actions")) return;
  const isBox = event.target.matches(".pick input");
  if (!isBox && !event.shiftKey && !event.ctrlKey && !event.metaKey) return;
  if (event.target.closest(".pick") && !isBox) return; // the label's click comes again as the box's
  if (!isBox) event.preventDefault();
  toggle(card, event.shiftKey);
});
gallery.addEventListener("mousedown", (event) => {
  if (event.shiftKey) event.preventDefault(); // no text is selected
});

function clear() {
  selected.clear();
  anchor = null;
  show();
}

function forget(gone) {
  for (const id of gone) selected.delete(id);
  show();
}

byId("select-all").addEventListener("click", () => {
  for (const card of cards()) selected.add(card.dataset.id);
  show();
});
byId("select-none").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && selected.size && !event.target.matches("input[type=search]")) clear();
});

const act = (button, work) => byId(button).addEventListener("click", async () => {
  try {
    await work(ids());
  } catch (error) {
    showMessage(error.message);
  }
});
act("star-selected", (chosen) => call("POST", "/api/history/star", { ids: chosen, is_starred: true }));
act("unstar-selected", (chosen) => call("POST", "/api/history/star", { ids: chosen, is_starred: false }));
act("delete-selected", async (chosen) => {
  if (!confirm(chosen.length === 1 ? "Delete this image?" : `Delete ${chosen.length} images?`)) return;
  const { deleted } = await call("POST", "/api/history/delete", { ids: chosen });
  remove(deleted);
  showMessage(deleted.length === 1 ? "1 image deleted." : `${deleted.length} images deleted.`, "good");
});
act("zip-selected", () => {
  const form = byId("zip-form"); // a form, so that the browser writes the file as it comes
  form.elements.ids.value = madeIds().join(",");
  form.submit();
});
act("compare-selected", () => {
  const [newer, older] = madeIds();
  location.href = `/history/compare?left=${older}&right=${newer}`;
});

// `removeCards(ids)` takes cards away that were deleted here.
export function offerSelection(removeCards) {
  remove = removeCards;
  show();
  return { clear, forget, isEmpty: () => selected.size === 0 };
}
