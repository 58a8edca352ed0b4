// The Rewriter page: streams the text as it is written.
import { byId, clientId, seconds } from "./common.js";
import { readFields } from "./fields.js";

const form = byId("rewriter-form");
const STORED = "rewriter-form";
const TAKEN = "rewriter-taken";
const RESULT = "rewriter-result";
let request = null;
let result = "";

function chosen() {
  return form.querySelector("[name=template]:checked");
}

function showInstruction() {
  const isOwn = chosen().value === "";
  const box = form.instruction;
  if (!box.readOnly) box.dataset.own = box.value;
  box.readOnly = !isOwn;
  box.value = isOwn ? box.dataset.own ?? "" : chosen().dataset.body;
}

function body() {
  const values = { ...readFields(form), prompt: form.prompt.value };
  if (chosen().value === "") values.instruction = form.instruction.value;
  else values.template = chosen().value;
  if (form.seed.value !== "") values.seed = Number(form.seed.value);
  return values;
}

function show(text, thinking, state) {
  const box = byId("written-text");
  box.dataset.state = state;
  box.textContent = text;
  byId("thinking").hidden = !thinking;
  byId("thinking-text").textContent = thinking;
}

function setRunning(isRunning) {
  byId("rewrite-button").disabled = isRunning;
  byId("stop-button").hidden = !isRunning;
  byId("use-button").disabled = isRunning || !result;
  byId("again-button").disabled = isRunning || !result;
}

function showError(text) {
  byId("rewriter-error").hidden = !text;
  byId("rewriter-error").textContent = text ?? "";
}

// Server-sent events from a POST: blocks of "event: name" and "data: json", separated by an empty line.
async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    pending += value; // a piece may end between CR and LF
    const blocks = pending.split(/\r\n\r\n|\n\n/);
    pending = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r\n|\n/);
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (name) yield { name, data: JSON.parse(data) };
    }
  }
}

async function rewrite() {
  request?.abort();
  const own = new AbortController();
  request = own;
  const isCurrent = () => own === request; // a rewrite that was given up shows nothing in the one that took its place
  const started = performance.now();
  result = "";
  showError(null);
  show("", "", "running");
  setRunning(true);
  byId("rewriter-status").textContent = "waiting";
  try {
    const answer = await fetch("/api/rewrite", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-Client": clientId },
      body: JSON.stringify(body()),
      signal: own.signal,
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    for await (const { name, data } of eventsOf(answer)) if (isCurrent()) take(name, data);
    if (!isCurrent()) return;
    byId("rewriter-status").textContent = seconds((performance.now() - started) / 1000);
  } catch (error) {
    if (!isCurrent()) return;
    byId("rewriter-status").textContent = error.name === "AbortError" ? "stopped" : "";
    if (error.name !== "AbortError") showError(error.message);
    result = byId("written-text").textContent;
  }
  byId("written-text").dataset.state = "done";
  setRunning(false);
}

function take(name, data) {
  if (name === "waiting") {
    byId("rewriter-status").textContent = data.position ? `waiting, ${data.position} in front` : "reading";
  } else if (name === "error") throw new Error(data.error);
  else {
    show(data.text, data.thinking, "running");
    result = data.text;
    if (name === "done") sessionStorage.setItem(RESULT, JSON.stringify({ text: data.text, thinking: data.thinking }));
    byId("rewriter-status").textContent = data.text || !data.thinking ? "writing" : "thinking";
    if (name === "done" && !data.text) {
      showError(data.thinking
        ? "The model was still thinking when its tokens were used up; raise Most tokens."
        : "The model wrote nothing; try another seed or a higher temperature.");
    }
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  rewrite();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    rewrite();
  }
});
byId("stop-button").addEventListener("click", () => request?.abort());
byId("use-button").addEventListener("click", () => {
  sessionStorage.setItem("carried-prompt", result);
  location.href = "/";
});
byId("again-button").addEventListener("click", () => {
  form.prompt.value = result;
  form.prompt.focus();
});
form.addEventListener("input", (event) => {
  const target = event.target;
  if (target.type === "range") byId(target.dataset.for).value = target.value;
  else if (target.type === "number") {
    const slider = target.closest("[data-name]")?.querySelector("input[type=range]");
    if (slider) slider.value = target.value;
  }
  if (target.name === "template") {
    showInstruction();
    if (target.value === "") form.instruction.focus();
  }
  sessionStorage.setItem(STORED, form.prompt.value);
});

// Starts from the prompt in Generate, unless one has written another here since.
function begin() {
  const generates = JSON.parse(sessionStorage.getItem("generate-form") ?? "null")?.prompt ?? "";
  const isNew = generates !== (sessionStorage.getItem(TAKEN) ?? "");
  sessionStorage.setItem(TAKEN, generates);
  form.prompt.value = (isNew && generates) || (sessionStorage.getItem(STORED) ?? "");
  const kept = JSON.parse(sessionStorage.getItem(RESULT) ?? "null");
  if (!kept) return;
  result = kept.text;
  show(kept.text, kept.thinking, "done");
  setRunning(false);
}

begin();
showInstruction();
