// The size: presets in pixels for the model in use, free numbers, and a word where they are far from its own.
import { byId } from "./common.js";

const form = byId("generate-form");
const control = byId("size-control");
const FAR = 2.5; // times more or fewer pixels than the model was trained for

function nativeSize() {
  const { nativeWidth, nativeHeight } = control.dataset;
  return nativeWidth ? { width: Number(nativeWidth), height: Number(nativeHeight) } : null;
}

export function setNativeSize(width, height) {
  control.dataset.nativeWidth = width;
  control.dataset.nativeHeight = height;
}

// The multiple of 16 whose shape has about as many pixels as the native size.
function sizeOfShape(across, down) {
  const native = nativeSize();
  const unit = Math.sqrt((native.width * native.height) / (across * down));
  const round = (pixels) => Math.max(64, Math.round(pixels / 16) * 16);
  return { width: round(unit * across), height: round(unit * down) };
}

const isNative = (radio) => radio.dataset.across === radio.dataset.down;

function sizeOf(radio) {
  return isNative(radio) ? nativeSize() : sizeOfShape(Number(radio.dataset.across), Number(radio.dataset.down));
}

const presets = () => Array.from(form.querySelectorAll("[name=shape][data-across]"));

export function applyShape(radio) {
  if (!radio || radio.value === "free") return;
  const size = isNative(radio) || !nativeSize() ? { width: "", height: "" } : sizeOf(radio);
  form.width.value = size.width;
  form.height.value = size.height;
}

export function chooseShape() {
  const width = form.width.value;
  const height = form.height.value;
  const fitting = presets().find((radio) => {
    if (isNative(radio) && !width && !height) return true;
    if (!nativeSize()) return false;
    const size = sizeOf(radio);
    return size.width === Number(width) && size.height === Number(height);
  });
  (fitting ?? form.querySelector("[name=shape][value=free]")).checked = true;
}

// Writes on the presets what they give, and warns of a size far from the model's own.
export function showSizes() {
  const native = nativeSize();
  if (!native) return;
  for (const radio of presets()) {
    const { width, height } = sizeOf(radio);
    radio.nextElementSibling.textContent = `${radio.value} · ${width}×${height}`;
  }
  const width = Number(form.width.value) || native.width;
  const height = Number(form.height.value) || native.height;
  const times = (width * height) / (native.width * native.height);
  const share = times > 1 ? `${times.toFixed(1)} times` : `a ${(1 / times).toFixed(1)}th of`;
  byId("size-warning").hidden = times <= FAR && times >= 1 / FAR;
  byId("size-warning").textContent =
    `${width}×${height} has ${share} the pixels this model was trained for (${native.width}×${native.height}); expect repeated or coarse content.`;
}
