// The Experiments page: the form's two kinds; htmx does the rest.
import "./viewer.js";
import { byId, onNews, showMessage } from "./common.js";

const form = byId("lab-form");

function showKind() {
  const kind = form.querySelector("[name=kind]:checked").value;
  for (const part of form.querySelectorAll("[data-kind-of]")) part.hidden = part.dataset.kindOf !== kind;
  byId("lab-experiment-help").textContent = byId("lab-experiment").selectedOptions[0]?.title ?? "";
}

// The set that goes with the experiment, until the user chooses one.
let isSetChosen = false;
function suggestSet() {
  if (!isSetChosen) byId("lab-set").value = byId("lab-experiment").selectedOptions[0]?.dataset.suggestedSet ?? "";
}

byId("lab-experiment").addEventListener("change", suggestSet);
byId("lab-set").addEventListener("change", () => {
  isSetChosen = true;
});
form.addEventListener("change", showKind);
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("htmx:afterRequest", (event) => {
  const { verb, path } = event.detail.requestConfig;
  if (verb === "delete" || path.endsWith("/resume")) htmx.trigger(document.body, "experiments-changed");
  if (verb !== "delete" || !path.startsWith("/api/experiments/") || !event.detail.successful) return;
  const { deleted, left } = JSON.parse(event.detail.xhr.responseText);
  if (left.length) showMessage(`${deleted} is deleted; what the lab did not write stays: ${left.slice(0, 5).join(", ")}.`, "warning");
});

// The place of the plan shows what was asked for last: a plan that was asked for before the start doesn't come over it,
// even if it had to wait for the one before it and was sent later.
const numbers = new WeakMap();
let lastAsked = 0;
let shownNumber = 0;
document.addEventListener("htmx:confirm", ({ detail: { triggeringEvent } }) => {
  if (triggeringEvent && !numbers.has(triggeringEvent)) numbers.set(triggeringEvent, ++lastAsked);
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.id !== "plan") return;
  const number = numbers.get(detail.requestConfig.triggeringEvent) ?? 0;
  if (number < shownNumber) detail.shouldSwap = false;
  else shownNumber = number;
});

// The list is asked for again when a job of the lab has news, at most once a second, and after a break.
let isDue = false;
onNews((news) => {
  if (news.jobs.some((job) => job.kind === "experiment")) askSoon();
});
document.addEventListener("returned", askSoon);
function askSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    htmx.trigger(document.body, "experiments-changed");
  }, 1000);
}
showKind();
suggestSet();
