// What every page has: theme, messages, the news of the server, and who this tab is.
import "./keep_focus.js";
import "./spoken.js";

export const clientId = (() => {
  const known = sessionStorage.getItem("client");
  if (known) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const drawn = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("client", drawn);
  return drawn;
})();

export const byId = (id) => document.getElementById(id);

export function showMessage(text, kind = "error") {
  const box = document.createElement("div");
  box.className = `message ${kind}`;
  box.append(text);
  const same = [...byId("messages").children].find((other) => other.firstChild.textContent === box.textContent);
  same?.remove(); // said again, it is read once
  const close = document.createElement("button");
  close.type = "button";
  close.setAttribute("aria-label", "Close");
  close.textContent = "×";
  close.addEventListener("click", () => box.remove());
  box.append(close);
  byId("messages").append(box);
  setTimeout(() => box.remove(), Math.max(8000, 70 * box.textContent.length)); // time to read it
}

// Sends JSON and returns JSON; throws an Error with the server's sentence and the field at fault.
export async function call(method, path, body, signal) {
  const headers = { "X-Client": clientId };
  if (body !== undefined && !(body instanceof Blob)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server can't be reached."), { status: 0 });
  }
  const content = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return { error: `The server answered ${answer.status}.` };
  });
  if (!answer.ok) throw Object.assign(new Error(content.error), { field: content.field, status: answer.status });
  return content;
}

export function seconds(value) {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.round(value / 60)} min`;
}

// What is known of the jobs. Answers and events tell of the same ones and overtake each other; the server numbers what
// it tells of a job, and the page keeps the highest number.
const jobs = new Map();
let activeIds = [];

export const isOver = (job) => !["waiting", "running"].includes(job.state);
const isOwn = (job) => job.client === clientId;

export function learn(job) {
  const known = jobs.get(job.id);
  if (!known || known.version < job.version) jobs.set(job.id, job);
}

// Calls `handle` with all news to come, and with the latest there was: a page's own script may begin after the stream.
let latest = null;
export function onNews(handle) {
  document.addEventListener("news", ({ detail: news }) => handle(news));
  if (latest) handle(latest);
}

export const activeJobs = () => activeIds.map((id) => jobs.get(id)).filter((job) => job && !isOver(job));
export const ownJobs = (kind) => [...jobs.values()].filter((job) => isOwn(job) && job.kind === kind);

function learnNews(news) {
  news.jobs.forEach(learn);
  if (news.active) takeOrder(news.active, news.version);
  for (const [id, job] of jobs) {
    if (isOver(job) && !isOwn(job)) jobs.delete(id);
    else if (!isOver(job) && job.version <= news.version && !activeIds.includes(id)) reconcile(id);
  }
}

// The order alone says that a job moved up.
function takeOrder(ids, version) {
  activeIds = ids;
  ids.forEach((id, position) => {
    const job = jobs.get(id);
    if (job && job.version <= version && job.position !== position) jobs.set(id, { ...job, version, position });
  });
}

// A job that the page takes for waiting or running and the server's queue lacks: it ended while nobody told the page, or
// the server that had it is gone. The server is asked, and its answer holds.
export async function reconcile(id) {
  try {
    learn(await call("GET", `/api/jobs/${id}`));
  } catch (error) {
    if (error.status !== 404 || isOver(jobs.get(id))) return; // no answer: the next news asks again
    jobs.set(id, { ...jobs.get(id), state: "interrupted", error: "The server stopped before it was made; ask for it again." });
  }
  document.dispatchEvent(new CustomEvent("reconciled"));
}

// One stream a tab; pages listen to "news" on the document, and to "returned" for what they have to ask again after a break,
// in which the server may have been started anew. A new one goes on where the page, or the stream before, was.
// The browser connects again by itself after a network fault, and never after an answer that is no stream, such as a
// proxy's 502: then the page does, after pauses that grow.
const LEAST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30000;
let stream = null;
let since = document.body.dataset.since;
let pause = LEAST_PAUSE_MS;
let reopening = null;
let isCut = false;

function openStream() {
  clearTimeout(reopening);
  if (stream || document.body.dataset.page === "login") return;
  stream = new EventSource(`/api/events?client=${clientId}&since=${since}`);
  stream.addEventListener("news", (event) => {
    pause = LEAST_PAUSE_MS;
    const news = JSON.parse(event.data);
    since = news.version;
    if (news.build !== document.body.dataset.build) offerReload();
    learnNews(news);
    showModel(news.model);
    showQueue(activeIds.length);
    latest = news;
    document.dispatchEvent(new CustomEvent("news", { detail: news }));
    if (isCut) document.dispatchEvent(new CustomEvent("returned"));
    isCut = false;
  });
  stream.addEventListener("error", () => {
    isCut = true;
    showModel(null);
    if (stream.readyState !== EventSource.CLOSED) return;
    closeStream();
    reopening = setTimeout(openStream, pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  });
}

// The server was replaced by another version: this page's scripts are the old ones.
let isReloadOffered = false;
function offerReload() {
  if (isReloadOffered) return;
  isReloadOffered = true;
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "Reload this page";
  const text = document.createElement("span");
  text.append("The server is another version now. ", link, ".");
  showMessage(text, "warning");
}

function closeStream() {
  clearTimeout(reopening);
  stream?.close();
  stream = null;
}

// Browsers allow few connections to one host: a hidden tab without jobs gives its own back.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") openStream();
  else if ([...jobs.values()].every((job) => isOver(job) || !isOwn(job))) closeStream();
});
window.addEventListener("pagehide", closeStream);
window.addEventListener("pageshow", openStream);
window.addEventListener("online", openStream);

function showModel(model) {
  const pill = byId("model-pill");
  if (!pill) return;
  pill.dataset.state = model ? model.state : "offline";
  pill.title = model?.error ?? (model ? "" : "The server can't be reached; trying again.");
  pill.querySelector(".state").textContent = ` ${model ? model.state : "offline"}`;
}

function showQueue(count) {
  const pill = byId("queue-pill");
  if (!pill) return;
  pill.hidden = count === 0;
  pill.textContent = count === 1 ? "1 job" : `${count} jobs`;
}

byId("theme-button")?.addEventListener("click", () => {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const current = document.documentElement.dataset.theme ?? (isDark ? "dark" : "light");
  const next = current === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
});

document.addEventListener("htmx:responseError", (event) => {
  let message = `The server answered ${event.detail.xhr.status}.`;
  try {
    message = JSON.parse(event.detail.xhr.responseText).error ?? message;
  } catch { /* not JSON: keep the plain sentence */ }
  showMessage(message);
});
document.addEventListener("htmx:sendError", () => showMessage("The server can't be reached."));
document.addEventListener("htmx:afterRequest", (event) => {
  const next = event.target.dataset?.then;
  if (next && event.detail.successful) location.href = next;
});

openStream();
