// Marks of invalid fields, and the words for them: a mark stays until its field is mended.
import { byId } from "./common.js";

const form = byId("generate-form");

// Takes the marks away of what is mended. The check while one types can't know all that the model refused: what it
// refused stays marked while it has the same value.
export function clearMarks() {
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    if (input.dataset.refused !== undefined && input.dataset.refused === input.value) continue;
    unmark(input);
  }
}

export function forgetMarks() {
  form.querySelectorAll("[aria-invalid]").forEach(unmark);
}

function unmark(input) {
  input.removeAttribute("aria-invalid");
  delete input.dataset.refused;
}

export function markField(name, isRefused = false) {
  clearMarks();
  const input = name && form.querySelector(`[name="${CSS.escape(name)}"]`);
  if (!input) return;
  input.setAttribute("aria-invalid", "true");
  if (isRefused) input.dataset.refused = input.value;
  input.closest("details")?.setAttribute("open", "");
}

// Writes the page's labels for the names that the server's sentences use.
export function inWordsOfPage(sentence) {
  return sentence.replace(/\b[a-z]+(?:_[a-z0-9]+)+\b/g, (name) => {
    const label = form.querySelector(`[data-name="${name}"] label`);
    return label ? label.textContent.trim() : name;
  });
}
