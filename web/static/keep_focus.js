// The focus stays where one works: lists are rendered anew, buttons are switched off while they work, rows go away under
// the cursor. Where a focused control is gone, it goes to the same control of what took its place, then to that of the
// next row, then where `data-focus-next` of a box around it says, then where one was before.
const ROW = "[data-id], [data-name]";
const CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex]";
let last = null; // what has the focus, and how to find it again
let before = null;

const rowKey = (row) => row.dataset.id ?? row.dataset.name;
const nameOf = (control) => `${control.tagName} ${control.dataset.action ?? control.textContent.trim()}`;
const isUsable = (control) => control?.isConnected && !control.disabled && control.checkVisibility();

function describe(control) {
  const row = control.closest(ROW);
  const rows = row?.parentElement ? [...row.parentElement.children].filter((other) => other.matches(ROW)) : [];
  const place = rows.indexOf(row);
  return {
    control,
    id: control.id,
    name: nameOf(control),
    rows: row ? [row, ...rows.slice(place + 1), ...rows.slice(0, place).reverse()].map(rowKey) : [],
    next: control.closest("[data-focus-next]")?.dataset.focusNext,
  };
}

function inRow(key, name) {
  const rows = document.querySelectorAll(`[data-id="${CSS.escape(key)}"], [data-name="${CSS.escape(key)}"]`);
  const controls = [...rows].flatMap((row) => [...row.querySelectorAll(CONTROLS)]);
  return controls.find((control) => nameOf(control) === name && isUsable(control));
}

function firstIn(id) {
  const place = id && document.getElementById(id);
  if (!place) return null;
  return place.matches(CONTROLS) ? place : [...place.querySelectorAll(CONTROLS)].find(isUsable);
}

function replacement() {
  const same = last.id && document.getElementById(last.id);
  if (isUsable(same)) return same;
  for (const key of last.rows) {
    const found = inRow(key, last.name);
    if (found) return found;
  }
  return [firstIn(last.next), before, document.getElementById("main")].find(isUsable);
}

function mend() {
  if (!last) return;
  const { control } = last;
  const active = document.activeElement;
  if (active !== control && active !== document.body && active !== null) return;
  const isHidden = !control.isConnected || control.closest("[hidden]");
  if (!isHidden && control.disabled) return; // it works, and is switched on again
  if (!isHidden && active === control) return;
  (isHidden ? replacement() : control)?.focus({ preventScroll: true });
}

document.addEventListener("focusin", ({ target }) => {
  if (last && last.control !== target && last.control.isConnected) before = last.control;
  last = describe(target);
});
// Leaving it oneself and its going away look the same until what takes it away is done.
document.addEventListener("focusout", ({ target }) => queueMicrotask(() => {
  if (last?.control !== target || !isUsable(target)) return;
  before = target;
  last = null;
}));
new MutationObserver(mend).observe(document.body, { subtree: true, childList: true, attributeFilter: ["hidden", "disabled"] });
