// The right side of Generate: the job that is followed, the picture that is shown, its parameters, what waits.
import { offerCanvas } from "./canvas.js";
import { activeJobs, byId, call, isOver, learn, onNews, ownJobs, reconcile, seconds, showMessage } from "./common.js";
import { showError, showNotices } from "./notices.js";
import { offerParameters } from "./picture_parameters.js";
import { showQueue } from "./queue_list.js";
import { offerStrip } from "./strip.js";

const KIND = "generate";

let isModelReady = Boolean(byId("size-control").dataset.nativeWidth);
let followed = null; // the job that is being made, or was the last to end
let chosen = null; // the picture that one looks at instead
let strip, canvas, showParameters;

// `use(values, label)` puts parameters of the picture into the form.
export function offerStage(form, use) {
  strip = offerStrip(choose);
  canvas = offerCanvas(strip.beside, choose);
  showParameters = offerParameters(form, use);
  byId("cancel-button").addEventListener("click", () => cancel(followed.id));
  byId("follow-button").addEventListener("click", follow);
  document.addEventListener("reconciled", update);
  showWhole();
  onNews(update);
  return {
    follow,
    cancel: () => {
      if (followed && !isOver(followed)) cancel(followed.id);
    },
    setModelReady: () => {
      isModelReady = true;
      showWhole(); // the job no longer waits for the model
    },
  };
}

function choose(picture) {
  chosen = picture;
  showWhole();
}

// The one that waits or is being made stays until it is over; then the next, and where none is left what ended last.
function jobToFollow() {
  const own = ownJobs(KIND);
  const same = own.find((job) => job.id === followed?.id);
  if (same && !isOver(same)) return same;
  const next = own.filter((job) => !isOver(job)).sort((a, b) => a.position - b.position);
  const ended = own.filter(isOver).sort((a, b) => b.version - a.version);
  return next[0] ?? ended[0];
}

// Brings the page up to what is known of the jobs, whichever way it came.
function update() {
  const job = jobToFollow();
  const made = ownJobs(KIND).filter((other) => other.image).sort((a, b) => a.version - b.version);
  made.forEach(strip.add);
  if (job && job !== followed) {
    const isNew = followed?.id !== job.id;
    followed = job;
    if (job.state === "failed") showError(job.error);
    showWhole(isNew);
  }
  showQueue(activeJobs().filter((other) => other.id !== followed?.id), cancel);
}

function showWhole(isNew = false) {
  if (followed) showProgress(followed);
  if (chosen) showPicture(chosen, "");
  else if (followed) showJob(followed, isNew);
  else if (strip.newest()) showPicture(strip.newest(), "");
}

function showProgress(job) {
  byId("status").hidden = isOver(job);
  byId("follow-button").hidden = !chosen;
  byId("status-text").textContent = wordsFor(job);
  byId("cancel-button").disabled = job.is_cancelling;
  const progress = byId("progress");
  if (job.total) {
    progress.max = job.total;
    progress.value = job.step;
  } else progress.removeAttribute("value");
}

function wordsFor(job) {
  if (job.is_cancelling) return "Cancelling…";
  if (job.state === "waiting" && job.position > 0) return `Waiting, ${job.position} in front`;
  const words = {
    waiting: isModelReady ? "Waiting" : "The model is loading; your image is next",
    running: job.step ? `Step ${job.step} of ${job.total}` : "Reading the prompt",
    cancelled: "Cancelled.",
    interrupted: job.error ?? "Interrupted.",
  };
  const text = words[job.state] ?? "";
  if (job.eta_s === null || job.state !== "running") return text;
  return text + (job.step < job.total ? `, about ${seconds(job.eta_s)} left` : ", decoding");
}

function showJob(job, isNew) {
  if (job.image) {
    showPicture({ id: job.id, title: job.title, params: job.request }, `, ${seconds(job.finished_at - job.started_at)}`);
    showNotices("image-notices", job.notices);
    return;
  }
  byId("canvas").dataset.state = job.state;
  byId("result-bar").hidden = true;
  if (isNew || isOver(job)) canvas.clear();
  byId("placeholder-text").textContent = isOver(job) ? wordsFor(job) || "No image." : "";
  if (job.preview && !isOver(job)) canvas.set(job.preview, "Preview of the image", null);
  showNotices("image-notices", job.notices);
  showParameters(null);
  strip.mark(null);
}

function showPicture(picture, time) {
  const { id, title, params } = picture;
  byId("canvas").dataset.state = "done";
  canvas.set(`/api/images/${id}`, title, picture);
  const size = params.width ? `, ${params.width}×${params.height}` : "";
  const steps = params.num_inference_steps ? `, ${params.num_inference_steps} steps` : "";
  byId("result-text").textContent = `seed ${params.seed}${size}${steps}${time}`;
  byId("result-bar").hidden = false;
  byId("download-link").href = `/api/images/${id}?download=true`;
  byId("details-link").href = `/history/${id}`;
  showNotices("image-notices", []);
  showParameters(params);
  strip.mark(id);
}

async function cancel(id) {
  if (id === followed?.id) {
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

function follow() {
  const wasChosen = chosen !== null;
  chosen = null;
  if (wasChosen) showWhole();
  update();
}
