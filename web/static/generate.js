// The Generate page: the form as JSON and back, the live formatted prompt, and asking for an image.
import { clearMarks, forgetMarks, inWordsOfPage, markField } from "./field_marks.js";
import { applyShape, chooseShape, setNativeSize, showSizes } from "./size_presets.js";
import { offerLoras } from "./lora_rows.js";
import { offerRewriting } from "./rewrite_in_place.js";
import { offerTemplates } from "./template_choice.js";
import { byId, call, learn, onNews, showMessage } from "./common.js";
import { offerDrop } from "./dropped_picture.js";
import { fieldsOf, inputOf, readFields } from "./fields.js";
import { forgetRefusal, showError, showNotices } from "./notices.js";
import { offerStage } from "./stage.js";

const form = byId("generate-form");
const STORED = "generate-form";
const MAX_DRAWN_SEED = 2 ** 32;
const FORMAT_DELAY_MS = 120;
const defaults = readForm();
let isModelReady = Boolean(byId("size-control").dataset.nativeWidth);

// --- the form as values, and back ---------------------------------------------------------------------------------

function readForm() {
  return readFields(form);
}

// Puts values into the form; what is not among them stays.
function fillForm(values) {
  for (const field of fieldsOf(form)) {
    const name = field.dataset.name;
    if (!(name in values)) continue;
    const input = inputOf(field);
    const value = values[name];
    if (field.dataset.kind === "switch") input.checked = Boolean(value);
    else input.value = value ?? "";
    const toggle = field.querySelector("[data-switches]");
    if (toggle) toggle.checked = value !== null;
    showField(field);
  }
  if ("seed" in values) byId("seed-lock").checked = values.seed !== null;
  chooseShape();
  afterChange();
}

// Takes a single parameter over from a picture; the others stay.
function usePart(values) {
  fillForm(values);
  const [name] = Object.keys(values);
  const field = form.querySelector(`[data-name="${CSS.escape(name)}"]`);
  const label = field?.querySelector("label").textContent.trim() ?? name;
  field?.closest("details")?.setAttribute("open", "");
  showMessage(`${label} is taken over from the picture.`, "good");
}

function showField(field) {
  const input = inputOf(field);
  const toggle = field.querySelector("[data-switches]");
  if (toggle) input.hidden = !toggle.checked;
  const slider = field.querySelector("input[type=range]");
  if (slider) slider.value = Number.isNaN(Number(input.value)) ? slider.max : input.value;
  field.dispatchEvent(new Event("filled"));
}

// --- what follows each change ---------------------------------------------------------------------------------------

let formatTimer = null;
let formatRequest = null;
let changes = 0;

function afterChange() {
  changes += 1;
  sessionStorage.setItem(STORED, JSON.stringify({ ...readForm(), locked: byId("seed-lock").checked }));
  showChanged();
  showSizes();
  clearTimeout(formatTimer);
  formatTimer = setTimeout(showFormatted, FORMAT_DELAY_MS);
}

function showChanged() {
  const values = readForm();
  for (const section of form.querySelectorAll("details[data-section]")) {
    const names = Array.from(section.querySelectorAll("[data-name]"), (field) => field.dataset.name);
    const changed = names.filter((name) => name !== "seed" && values[name] !== defaults[name]);
    const labels = changed.map((name) => section.querySelector(`[data-name="${name}"] label`).textContent.trim());
    section.querySelector(".changed").textContent = labels.join(", ");
  }
}

async function showFormatted() {
  formatRequest?.abort();
  formatRequest = new AbortController();
  const asked = changes;
  try {
    const answer = await call("POST", "/api/format-prompt", readForm(), formatRequest.signal);
    if (asked !== changes) return; // the form is another by now, and will be asked about
    const parts = answer.segments.map(({ text, is_special: isSpecial }) => {
      const part = document.createElement(isSpecial ? "mark" : "span");
      part.textContent = text;
      return part;
    });
    byId("formatted-prompt").replaceChildren(...parts);
    const count = byId("token-count");
    count.textContent = answer.token_count === null
      ? "tokens are counted once the model is there"
      : `${answer.token_count} of ${answer.token_limit} tokens`;
    const isTooLong = answer.token_count > answer.token_limit;
    count.classList.toggle("over", isTooLong);
    showNotices("form-notices", answer.notices);
    clearMarks();
    if (!form.querySelector("[data-refused]")) forgetRefusal();
  } catch (error) {
    if (error.name !== "AbortError" && asked === changes) {
      byId("token-count").textContent = inWordsOfPage(error.message);
      byId("token-count").classList.add("over");
      markField(error.field);
    }
  }
}

form.addEventListener("input", (event) => {
  const target = event.target;
  if (target.type === "range") byId(target.dataset.for).value = target.value;
  const field = target.closest("[data-name]");
  if (target.dataset.switches) {
    showField(field);
    if (target.checked) inputOf(field).focus();
  } else if (field && (target.type === "number" || field.dataset.words) && target.name === field.dataset.name) showField(field);
  if (target.name === "shape") applyShape(target);
  if (target.name === "width" || target.name === "height") chooseShape();
  if (target.name === "seed") byId("seed-lock").checked = target.value !== "";
  if (target.id !== "template-select") afterChange();
});

function fillTexts(values) {
  const isLocked = byId("seed-lock").checked;
  fillForm(values);
  byId("seed-lock").checked = isLocked;
  afterChange();
}

byId("seed-dice").addEventListener("click", () => {
  drawSeed();
  afterChange();
});

function drawSeed() {
  form.seed.value = crypto.getRandomValues(new Uint32Array(1))[0] % MAX_DRAWN_SEED;
}

byId("reset-button").addEventListener("click", () => {
  byId("template-select").value = "";
  forgetMarks();
  showError(null);
  fillForm({ ...defaults, prompt: form.prompt.value });
});

// --- asking for an image ---------------------------------------------------------------------------------------------

async function submit() {
  if (!byId("seed-lock").checked || form.seed.value === "") drawSeed();
  afterChange();
  showError(null);
  const button = byId("generate-button");
  button.disabled = true;
  const asked = changes;
  try {
    learn(await call("POST", "/api/generate", readForm()));
    if (asked === changes) forgetMarks();
    stage.follow();
  } catch (error) {
    if (asked === changes) markField(error.field, true);
    showError(error.message, form.querySelector("[data-refused]") !== null);
  } finally {
    button.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    submit();
  } else if (event.key === "Escape" && event.target === document.body) stage.cancel();
});

function takeNews(news) {
  if (news.model.state === "ready" && !isModelReady) {
    isModelReady = true;
    setNativeSize(news.model.native_width, news.model.native_height);
    deepenHiddenLayer(news.model.hidden_layer_count);
    applyShape(form.querySelector("[name=shape]:checked"));
    chooseShape();
    showFormatted();
    stage.setModelReady();
  }
  if (news.model.state === "failed") showError(news.model.error);
}

function deepenHiddenLayer(count) {
  const field = form.querySelector('[data-name="hidden_layer"]');
  if (!field || !count) return;
  inputOf(field).min = -count;
  const slider = field.querySelector("input[type=range]");
  slider.min = -count;
  showField(field);
  field.querySelector(".range").textContent = `-${count} to -1 in this model, or ${field.dataset.words}`;
}

// --- the beginning --------------------------------------------------------------------------------------------------

function begin() {
  const isWhole = form.dataset.initial && !("onlyOne" in form.dataset);
  if (isWhole) fillForm({ ...defaults, ...JSON.parse(form.dataset.initial) });
  else restore();
  if (!form.dataset.initial) return;
  if (!isWhole) usePart(JSON.parse(form.dataset.initial));
  history.replaceState(null, "", "/");
}

function restore() {
  const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
  const carried = sessionStorage.getItem("carried-prompt");
  sessionStorage.removeItem("carried-prompt");
  if (stored) {
    const { locked, ...values } = stored;
    fillForm(values);
    byId("seed-lock").checked = Boolean(locked);
  }
  if (carried !== null) form.prompt.value = carried;
  afterChange();
}

call("GET", "/api/parameters").then(({ model }) => deepenHiddenLayer(model.hidden_layer_count)).catch(() => {});
offerLoras(form);
begin();
const stage = offerStage(form, (values, label) => {
  if (label) usePart(values);
  else {
    fillForm({ ...defaults, ...values });
    showMessage("All settings of the picture are in the form.", "good");
  }
});
offerDrop((params) => fillForm({ ...defaults, ...params }));
offerTemplates(readForm, fillTexts);
offerRewriting((prompt) => {
  form.prompt.value = prompt;
  afterChange();
});
onNews(takeNews);
document.addEventListener("returned", showFormatted);
