// Choosing a template: it fills in texts, and what one wrote oneself can be had back.
import { byId } from "./common.js";

const NAMES = ["system_prompt", "thinking_content", "assistant_content"];

export function offerTemplates(readForm, fillTexts) {
  const select = byId("template-select");
  const undo = byId("template-undo");
  let written = null;
  let filled = null; // what the last template brought

  const texts = () => Object.fromEntries(NAMES.map((name) => [name, readForm()[name] ?? null]));
  const isSame = (one, other) => other !== null && NAMES.every((name) => one[name] === other[name]);

  select.addEventListener("change", () => {
    const chosen = select.selectedOptions[0];
    const before = texts();
    if (!isSame(before, filled) && NAMES.some((name) => before[name])) written = before;
    filled = {
      system_prompt: chosen.dataset.system ?? null,
      thinking_content: chosen.dataset.thinking ?? null,
      assistant_content: chosen.dataset.assistant ?? null,
    };
    fillTexts(filled);
    undo.hidden = written === null;
    byId("template-help").textContent = chosen.title || "";
  });

  undo.addEventListener("click", () => {
    fillTexts(written);
    written = filled = null;
    select.value = "";
    undo.hidden = true;
    select.focus();
  });
}
