// The Generate page: the form as JSON and back, the live formatted prompt, and the image as it is being made.
import { clearMarks, forgetMarks, inWordsOfPage, markField } from "./field_marks.js";
import { applyShape, chooseShape, setNativeSize, showSizes } from "./size_presets.js";
import { offerRewriting } from "./rewrite_in_place.js";
import { offerTemplates } from "./template_choice.js";
import { activeJobs, byId, call, isOver, learn, onNews, ownJobs, reconcile, seconds, showMessage } from "./common.js";
import { fieldsOf, inputOf, readFields } from "./fields.js";

const form = byId("generate-form");
const STORED = "generate-form";
const MAX_DRAWN_SEED = 2 ** 32;
const FORMAT_DELAY_MS = 120;
const RECENT_SHOWN = 8;
const KIND = "generate";
const defaults = readForm();
let isModelReady = Boolean(byId("size-control").dataset.nativeWidth);

// --- the form as values, and back ---------------------------------------------------------------------------------

function readForm() {
  return readFields(form);
}

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
  byId("seed-lock").checked = values.seed !== null && values.seed !== undefined;
  chooseShape();
  afterChange();
}

function showField(field) {
  const input = inputOf(field);
  const toggle = field.querySelector("[data-switches]");
  if (toggle) input.hidden = !toggle.checked;
  const slider = field.querySelector("input[type=range]");
  if (slider) slider.value = input.value;
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
  for (const section of form.querySelectorAll("details.section")) {
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
  } catch (error) {
    if (error.name !== "AbortError" && asked === changes) {
      byId("token-count").textContent = inWordsOfPage(error.message);
      byId("token-count").classList.add("over");
      markField(error.field);
    }
  }
}

function showNotices(id, sentences) {
  const list = byId(id);
  list.hidden = sentences.length === 0;
  list.replaceChildren(...sentences.map((sentence) => {
    const item = document.createElement("li");
    item.textContent = inWordsOfPage(sentence);
    return item;
  }));
}

form.addEventListener("input", (event) => {
  const target = event.target;
  if (target.type === "range") byId(target.dataset.for).value = target.value;
  const field = target.closest("[data-name]");
  if (target.dataset.switches) {
    showField(field);
    if (target.checked) inputOf(field).focus();
  } else if (field && target.type === "number" && target.name === field.dataset.name) showField(field);
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

// --- making an image ------------------------------------------------------------------------------------------------

let shown = null;

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
    update();
  } catch (error) {
    showError(error.message);
    if (asked === changes) markField(error.field, true);
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
  } else if (event.key === "Escape" && shown && !isOver(shown) && event.target === document.body) cancelShown();
});

// The one that waits or is being made stays until it is over; then the next, and where none is left what ended last.
function jobToShow() {
  const own = ownJobs(KIND);
  const same = own.find((job) => job.id === shown?.id);
  if (same && !isOver(same)) return same;
  const next = own.filter((job) => !isOver(job)).sort((a, b) => a.position - b.position);
  const ended = own.filter(isOver).sort((a, b) => b.version - a.version);
  return next[0] ?? ended[0];
}

// Brings the page up to what is known of the jobs, whichever way it came.
function update() {
  const job = jobToShow();
  if (job && job !== shown) show(job);
  const made = ownJobs(KIND).filter((other) => other.image).sort((a, b) => b.version - a.version);
  made.slice(0, RECENT_SHOWN).forEach(addRecent);
  showQueue(activeJobs().filter((other) => other.id !== shown?.id));
}

function show(job) {
  const isNew = shown?.id !== job.id;
  shown = job;
  const canvas = byId("canvas");
  canvas.dataset.state = job.state;
  byId("status").hidden = isOver(job);
  byId("result-bar").hidden = job.state !== "done";
  if (isNew || (isOver(job) && !job.image)) byId("result").hidden = true;
  const words = {
    waiting: isModelReady ? "Waiting" : "The model is loading; your image is next",
    running: job.step ? `Step ${job.step} of ${job.total}` : "Reading the prompt",
    cancelled: "Cancelled.",
    failed: "",
    interrupted: job.error ?? "Interrupted.",
  };
  let text = words[job.state] ?? "";
  if (job.state === "waiting" && job.position > 0) text = `Waiting, ${job.position} in front`;
  if (job.eta_s !== null && job.state === "running") {
    text += job.step < job.total ? `, about ${seconds(job.eta_s)} left` : ", decoding";
  }
  if (job.is_cancelling) text = "Cancelling…";
  byId("status-text").textContent = text;
  byId("cancel-button").disabled = job.is_cancelling;
  const progress = byId("progress");
  if (job.total) {
    progress.max = job.total;
    progress.value = job.step;
  } else progress.removeAttribute("value");
  byId("placeholder-text").textContent = isOver(job) ? text || "No image." : "";
  showNotices("image-notices", job.notices);
  if (job.state === "failed") showError(job.error);
  if (job.image) showImage(job);
  else if (job.preview) setImage(job.preview, "Preview of the image");
}

function setImage(path, description) {
  const image = byId("result");
  image.src = path;
  image.alt = description;
  image.hidden = false;
}

function showImage(job) {
  setImage(job.image, job.title);
  byId("result-text").textContent = `seed ${job.request.seed}, ${seconds(job.finished_at - job.started_at)}`;
  byId("download-link").href = `${job.image}?download=true`;
  byId("details-link").href = `/history/${job.id}`;
}

// Puts an image in its place, newest first; those that came with the page are older than all that it hears of.
function addRecent(job) {
  const recent = byId("recent");
  if (job.version <= document.body.dataset.since || recent.querySelector(`[href="/history/${job.id}"]`)) return;
  const link = document.createElement("a");
  link.href = `/history/${job.id}`;
  link.dataset.version = job.version;
  const image = new Image(64, 64);
  image.src = `${job.image}/thumbnail`;
  image.alt = job.title;
  link.append(image);
  recent.insertBefore(link, [...recent.children].find((other) => !(other.dataset.version > job.version)) ?? null);
  while (recent.children.length > RECENT_SHOWN) recent.lastElementChild.remove();
}

function showError(text) {
  byId("error-text").hidden = !text;
  byId("error-text").textContent = inWordsOfPage(text ?? "");
}

async function cancel(id) {
  if (id === shown?.id) {
    byId("status-text").textContent = "Cancelling…";
    byId("cancel-button").disabled = true;
  }
  try {
    learn(await call("DELETE", `/api/jobs/${id}`));
    update();
  } catch (error) {
    byId("cancel-button").disabled = false;
    if (error.status === 404) reconcile(id);
    else showMessage(error.message);
  }
}

const cancelShown = () => cancel(shown.id);
byId("cancel-button").addEventListener("click", cancelShown);

document.addEventListener("reconciled", update);
function takeNews(news) {
  if (news.model.state === "ready" && !isModelReady) {
    isModelReady = true;
    setNativeSize(news.model.native_width, news.model.native_height);
    deepenHiddenLayer(news.model.hidden_layer_count);
    applyShape(form.querySelector("[name=shape]:checked"));
    chooseShape();
    showFormatted();
    if (shown) show(shown); // it no longer waits for the model
  }
  if (news.model.state === "failed") showError(news.model.error);
  update();
}

function showQueue(jobs) {
  const list = byId("queue");
  list.hidden = jobs.length === 0;
  list.replaceChildren(...jobs.map((job) => {
    const item = document.createElement("li");
    item.dataset.id = job.id;
    const title = document.createElement("span");
    title.className = "queue-title";
    title.textContent = job.title;
    const state = document.createElement("span");
    state.className = "muted";
    state.textContent = job.state === "running" ? `step ${job.step} of ${job.total || "?"}` : job.state;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link danger";
    button.textContent = "Cancel";
    button.setAttribute("aria-label", `Cancel ${job.title}`);
    button.addEventListener("click", () => cancel(job.id));
    item.append(title, state, button);
    return item;
  }));
}

function deepenHiddenLayer(count) {
  const field = form.querySelector('[data-name="hidden_layer"]');
  if (!field || !count) return;
  inputOf(field).min = -count;
  const slider = field.querySelector("input[type=range]");
  slider.min = -count;
  slider.value = inputOf(field).value;
  field.querySelector(".range").textContent = `-${count} to -1 in this model`;
}

// --- a picture dropped on the page -----------------------------------------------------------------------------------

const hint = byId("drop-hint");
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  hint.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) hint.hidden = true;
});
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  hint.hidden = true;
  restoreFrom(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file?.type.startsWith("image/")) restoreFrom(file);
});

let restoreRequest = null;

async function restoreFrom(file) {
  restoreRequest?.abort();
  restoreRequest = new AbortController();
  try {
    const answer = await call("POST", "/api/image-parameters", file, restoreRequest.signal);
    fillForm({ ...defaults, ...answer.params });
    showMessage([`Settings restored from ${file.name}.`, ...answer.notices].join(" "), "good");
  } catch (error) {
    if (error.name !== "AbortError") showMessage(error.message);
  }
}

// --- the beginning --------------------------------------------------------------------------------------------------

function begin() {
  if (form.dataset.initial) {
    fillForm({ ...defaults, ...JSON.parse(form.dataset.initial) });
    history.replaceState(null, "", "/");
    return;
  }
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
begin();
offerTemplates(readForm, fillTexts);
offerRewriting((prompt) => {
  form.prompt.value = prompt;
  afterChange();
});
onNews(takeNews);
