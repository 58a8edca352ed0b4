// LoRAs as rows of file and strength. The text of the parameter is what counts; the rows write it and are read from it.
import { byId, call } from "./common.js";

const PART = /\s*((?:"(?:[^"]|"")*"|'[^']*'|[^,"'])*)/y; // up to a comma outside of quotes
const ENTRY = /^(.+?)(?::([-+]?[\d.]+(?:e[-+]?\d+)?))?(#[0-9a-f]{16})?$/s;

// The entries of a text; null where it is none, such as while one writes.
function entriesOf(text) {
  const entries = [];
  for (let place = 0; text.trim() && place <= text.length; place = PART.lastIndex + 1) {
    PART.lastIndex = place;
    const match = PART.exec(text);
    const entry = match && ENTRY.exec(match[1].trim());
    if (!entry || (PART.lastIndex < text.length && text[PART.lastIndex] !== ",")) return null;
    entries.push({ file: entry[1], strength: entry[2] ?? "1" });
  }
  return entries;
}

export function offerLoras(form) {
  const field = form.querySelector('[data-name="loras"]');
  const text = byId("field-loras");
  const rows = document.createElement("ul");
  const known = document.createElement("datalist");
  const add = document.createElement("button");
  rows.className = "lora-rows";
  rows.dataset.focusNext = "lora-add";
  known.id = "lora-files";
  Object.assign(add, { type: "button", id: "lora-add", textContent: "Add a LoRA" });
  text.before(rows, known, add);

  const write = () => {
    const entries = [...rows.children].map((row) => [row.querySelector(".lora-file").value.trim(), row.querySelector(".lora-strength").value || "1"]);
    text.value = entries.filter(([file]) => file).map(([file, strength]) => `${file}:${strength}`).join(", ");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  };

  // What can't be shown as rows stays a text, as it was written.
  const read = () => {
    const entries = entriesOf(text.value);
    text.hidden = entries !== null;
    add.hidden = entries === null;
    rows.replaceChildren(...(entries ?? []).map(rowOf));
  };

  const rowOf = ({ file, strength }) => {
    const row = document.createElement("li");
    row.dataset.id = `lora-${crypto.randomUUID?.() ?? Math.random()}`;
    const name = Object.assign(document.createElement("input"), { type: "text", className: "lora-file", value: file, placeholder: "style.safetensors", autocomplete: "off" });
    name.setAttribute("list", known.id);
    name.setAttribute("aria-label", "LoRA file");
    const factor = Object.assign(document.createElement("input"), { type: "number", className: "lora-strength", value: strength, step: "any", min: -10, max: 10 });
    factor.setAttribute("aria-label", "Strength");
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "link danger", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove the LoRA ${file}`);
    remove.addEventListener("click", () => { row.remove(); write(); });
    row.append(name, factor, remove);
    row.addEventListener("input", (event) => { event.stopPropagation(); write(); });
    return row;
  };

  add.addEventListener("click", () => {
    rows.append(rowOf({ file: "", strength: "1" }));
    rows.lastElementChild.querySelector("input").focus();
  });
  field.addEventListener("filled", read);
  read();
  call("GET", "/api/loras").then(({ loras }) => {
    known.replaceChildren(...loras.map(({ entry, file }) => Object.assign(document.createElement("option"), { value: entry, label: file })));
  }).catch(() => {}); // none are offered then
}
