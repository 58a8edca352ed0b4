// The parameters of the picture on the canvas, each with its way into the form: all of them, or one.
import { byId } from "./common.js";

const WORDS = new Map([[null, "none"], ["", "empty"], [true, "on"], [false, "off"]]);

// `use(values)` puts parameters into the form and leaves all others as they are.
export function offerParameters(form, use) {
  const box = byId("picture-parameters");
  const table = byId("picture-parameter-table");
  let shown = null;
  box.open = matchMedia("(min-width: 2200px)").matches; // where it has a column of its own

  const labelOf = (name) => form.querySelector(`[data-name="${CSS.escape(name)}"] label`)?.textContent.trim() ?? name;

  function row(name, value) {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = labelOf(name);
    head.title = name;
    const cell = document.createElement("td");
    cell.textContent = WORDS.get(value) ?? String(value);
    cell.classList.toggle("muted", value === null || value === "");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = "Use";
    button.dataset.use = name;
    button.setAttribute("aria-label", `Use ${labelOf(name)}`);
    const last = document.createElement("td");
    last.className = "use";
    last.append(button);
    line.append(head, cell, last);
    return line;
  }

  table.addEventListener("click", (event) => {
    const name = event.target.dataset.use;
    if (name) use({ [name]: shown[name] }, labelOf(name));
  });
  byId("use-all").addEventListener("click", () => use(shown, null));

  return (params) => {
    if (params === shown) return;
    shown = params;
    box.hidden = !params;
    if (params) table.replaceChildren(...Object.entries(params).map(([name, value]) => row(name, value)));
  };
}
