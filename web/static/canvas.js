// The picture on the canvas: as large as there is room, with crisp edges where its pixels are enlarged, and in full size
// by a click.
import { byId } from "./common.js";
import { openPicture } from "./viewer.js";

const CRISP_FROM = 2;

// `beside(id, direction)` returns a neighbour `{ id, title }`, `onShow` hears of one that the viewer went on to.
export function offerCanvas(beside, onShow) {
  const canvas = byId("canvas");
  const image = byId("result");
  const button = byId("open-viewer");
  let current = null; // the picture, if it is one of the history

  function sharpen() {
    if (!image.naturalWidth) return;
    const zoom = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
    image.classList.toggle("crisp", current !== null && zoom > CRISP_FROM); // a preview is a guess, not pixels
  }
  image.addEventListener("load", sharpen);
  new ResizeObserver(sharpen).observe(image);

  function set(path, description, picture) {
    if (image.getAttribute("src") !== path) image.src = path;
    image.alt = description;
    image.hidden = false;
    current = picture;
    button.hidden = !picture;
    canvas.classList.toggle("has-picture", Boolean(picture));
  }

  function clear() {
    image.hidden = true;
    button.hidden = true;
    current = null;
    canvas.classList.remove("has-picture");
  }

  const viewed = (picture) => picture && {
    src: `/api/images/${picture.id}`, alt: picture.title, details: `/history/${picture.id}`, opener: button, picture,
  };
  button.addEventListener("click", () => openPicture(
    viewed(current),
    ({ picture }, direction) => viewed(beside(picture.id, direction)),
    ({ picture }) => onShow(picture),
  ));
  return { set, clear };
}
