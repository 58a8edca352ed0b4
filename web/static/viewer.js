// Pictures in full size: zoom at the pointer, drag, keys, from one to the next. A dialog over any page.
//
// A page marks its pictures: links with `data-view` (the picture's address) in one that has `data-viewer`. Where pictures
// come from elsewhere, `openPicture` takes one, and a way to its neighbours.

const MOST_ZOOM = 32;
const STEP = 1.25;
const CRISP_FROM = 2; // a pixel of the picture on more than two of the page: its edges are shown as they are
const WHEEL_ZOOM = 0.0016;
const PINCH_WHEEL_ZOOM = 0.01; // of a touchpad, which tells of it as a wheel with Ctrl

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

let dialog = null;
let stage = null;
let image = null;
let shown = null; // { src, alt, details, opener }
let neighbour = () => null;
let followed = () => {};
let opener = null;
const view = { zoom: 1, x: 0, y: 0, isFit: true };
const pointers = new Map();

// --- opening and closing --------------------------------------------------------------------------------------------

// Shows a picture `{ src, alt, details, opener }`. `beside(picture, direction)` returns the one before (-1) or after
// (1), `onShow` hears of each that is shown.
export function openPicture(picture, beside = () => null, onShow = () => {}) {
  build();
  neighbour = beside;
  followed = onShow;
  opener = picture.opener ?? document.activeElement;
  show(picture);
  if (!dialog.open) dialog.showModal();
  stage.focus({ preventScroll: true });
  fit();
}

export const isViewerOpen = () => Boolean(dialog?.open);

function build() {
  if (dialog) return;
  dialog = document.createElement("dialog");
  dialog.className = "viewer";
  dialog.id = "viewer";
  dialog.setAttribute("aria-labelledby", "viewer-title");
  dialog.innerHTML = `
    <div class="viewer-stage" tabindex="0" role="group" aria-label="Picture: arrows for the next one, plus and minus to zoom, 0 to fit, 1 for its own size"><img alt="" draggable="false"></div>
    <div class="viewer-bar">
      <p id="viewer-title" class="viewer-title"></p>
      <a class="viewer-details" href="#">Details</a>
      <button type="button" data-do="out" aria-label="Zoom out" title="Zoom out (-)">−</button>
      <output class="viewer-zoom" aria-live="off"></output>
      <button type="button" data-do="in" aria-label="Zoom in" title="Zoom in (+)">+</button>
      <button type="button" data-do="fit" title="Fit (0)">Fit</button>
      <button type="button" data-do="own" title="Its own size (1)">100 %</button>
      <button type="button" data-do="close" aria-label="Close" title="Close (Escape)">×</button>
    </div>
    <button type="button" class="viewer-step previous" data-do="previous" aria-label="Previous picture" title="Previous (left arrow)">‹</button>
    <button type="button" class="viewer-step next" data-do="next" aria-label="Next picture" title="Next (right arrow)">›</button>`;
  document.body.append(dialog);
  stage = dialog.querySelector(".viewer-stage");
  image = stage.querySelector("img");
  image.addEventListener("load", fit);
  dialog.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
  dialog.addEventListener("keydown", onKey);
  dialog.addEventListener("close", giveFocusBack);
  stage.addEventListener("wheel", onWheel, { passive: false });
  stage.addEventListener("dblclick", (event) => (view.isFit ? zoomTo(Math.max(1, 2 * view.zoom), pointOf(event)) : fit()));
  for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) stage.addEventListener(name, onPointer);
  new ResizeObserver(() => (view.isFit ? fit() : place())).observe(stage);
}

function show(picture) {
  shown = picture;
  image.src = picture.src;
  image.alt = picture.alt;
  dialog.querySelector(".viewer-title").textContent = picture.alt || "Picture";
  const details = dialog.querySelector(".viewer-details");
  details.hidden = !picture.details;
  details.href = picture.details ?? "#";
  dialog.querySelector(".previous").hidden = !neighbour(picture, -1);
  dialog.querySelector(".next").hidden = !neighbour(picture, 1);
  fit();
  for (const direction of [-1, 1]) {
    const next = neighbour(picture, direction);
    if (next) new Image().src = next.src;
  }
}

function step(direction) {
  const next = neighbour(shown, direction);
  if (!next) return;
  const focused = document.activeElement;
  show(next);
  if (focused?.hidden) stage.focus({ preventScroll: true });
  followed(next);
}

function giveFocusBack() {
  pointers.clear();
  const target = (shown.opener && linkOf(shown)) ?? opener;
  image.removeAttribute("src");
  target?.focus();
}

const actions = {
  in: () => zoomTo(view.zoom * STEP),
  out: () => zoomTo(view.zoom / STEP),
  fit,
  own: () => zoomTo(1),
  close: () => dialog.close(),
  previous: () => step(-1),
  next: () => step(1),
};

const KEYS = { "+": "in", "=": "in", "-": "out", _: "out", 0: "fit", 1: "own", ArrowLeft: "previous", ArrowRight: "next" };

function onKey(event) {
  if (event.key === "Tab") return keepFocus(event);
  event.stopPropagation(); // the page behind has keys of its own
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  actions[action]();
}

// The browser's own controls are left out of the round, which a dialog does not do by itself.
function keepFocus(event) {
  const round = [...dialog.querySelectorAll("[tabindex='0'], a[href], button")].filter((item) => !item.hidden);
  const place = round.indexOf(document.activeElement);
  const next = round[(place + (event.shiftKey ? -1 : 1) + round.length) % round.length];
  event.preventDefault();
  next.focus();
}

// --- zoom and place: x and y are where the picture's corner is on the stage, zoom the page's pixels for one of its ------

const fitting = () => Math.min(stage.clientWidth / image.naturalWidth, stage.clientHeight / image.naturalHeight);
const middle = () => ({ x: stage.clientWidth / 2, y: stage.clientHeight / 2 });

function fit() {
  if (!image.naturalWidth || !stage.clientWidth) return;
  view.isFit = true;
  view.zoom = fitting();
  view.x = (stage.clientWidth - image.naturalWidth * view.zoom) / 2;
  view.y = (stage.clientHeight - image.naturalHeight * view.zoom) / 2;
  place();
}

function zoomTo(wanted, at = middle()) {
  if (!image.naturalWidth) return;
  const zoom = clamp(wanted, Math.min(1, fitting()), Math.max(MOST_ZOOM, fitting()));
  view.x = at.x - ((at.x - view.x) * zoom) / view.zoom;
  view.y = at.y - ((at.y - view.y) * zoom) / view.zoom;
  view.zoom = zoom;
  view.isFit = false;
  place();
}

// The picture stays in sight: in the middle where it is smaller than the stage, else without a gap at its edges.
function place() {
  const width = image.naturalWidth * view.zoom;
  const height = image.naturalHeight * view.zoom;
  const inside = (at, size, room) => (size <= room ? (room - size) / 2 : clamp(at, room - size, 0));
  view.x = inside(view.x, width, stage.clientWidth);
  view.y = inside(view.y, height, stage.clientHeight);
  image.style.width = `${width}px`;
  image.style.height = `${height}px`;
  image.style.translate = `${view.x}px ${view.y}px`;
  image.classList.toggle("crisp", view.zoom > CRISP_FROM);
  stage.classList.toggle("can-pan", width > stage.clientWidth + 1 || height > stage.clientHeight + 1);
  dialog.querySelector(".viewer-zoom").textContent = `${Math.round(100 * view.zoom)} %`;
}

// --- wheel, drag, pinch -----------------------------------------------------------------------------------------------

function pointOf(event) {
  const box = stage.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function onWheel(event) {
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  zoomTo(view.zoom * Math.exp(-event.deltaY * lines * (event.ctrlKey ? PINCH_WHEEL_ZOOM : WHEEL_ZOOM)), pointOf(event));
}

function onPointer(event) {
  const before = pinchOf();
  const last = pointers.get(event.pointerId);
  if (event.type === "pointerdown") {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, pointOf(event));
  } else if (event.type !== "pointermove") pointers.delete(event.pointerId);
  else if (last) {
    pointers.set(event.pointerId, pointOf(event));
    const now = pinchOf();
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    if (now.span) zoomTo((view.zoom * now.span) / before.span, now);
    else place();
  }
  stage.classList.toggle("panning", pointers.size > 0);
}

// The middle of what touches, and how far apart it is: nothing for one finger or the mouse.
function pinchOf() {
  const [one, other] = pointers.values();
  if (!other) return one ? { ...one, span: 0 } : { x: 0, y: 0, span: 0 };
  return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, span: Math.hypot(one.x - other.x, one.y - other.y) };
}

// --- links that open it -----------------------------------------------------------------------------------------------

const pictureOf = (link) => ({
  src: link.dataset.view,
  alt: link.querySelector("img")?.alt ?? link.textContent.trim(),
  details: link.getAttribute("href") === link.dataset.view ? null : link.getAttribute("href"),
  opener: link,
});

// The link of a picture, which may have been rendered anew since.
function linkOf(picture) {
  if (picture.opener.isConnected) return picture.opener;
  return document.querySelector(`[data-viewer] [data-view="${CSS.escape(picture.src)}"]`);
}

function besideLink(picture, direction) {
  const link = linkOf(picture);
  const links = link ? [...link.closest("[data-viewer]").querySelectorAll("[data-view]")] : [];
  const next = links[links.indexOf(link) + direction];
  return next ? pictureOf(next) : null;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-viewer] [data-view]");
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openPicture(pictureOf(link), besideLink);
});
