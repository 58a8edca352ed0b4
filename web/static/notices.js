// Sentences of the server, in the words of the page.
import { byId } from "./common.js";
import { inWordsOfPage } from "./field_marks.js";

export function showNotices(id, sentences) {
  const list = byId(id);
  list.hidden = sentences.length === 0;
  list.replaceChildren(...sentences.map((sentence) => {
    const item = document.createElement("li");
    item.textContent = inWordsOfPage(sentence);
    return item;
  }));
}

// What was refused for a field's value is said until that field is mended, or something else went wrong.
let isOfField = false;
export function forgetRefusal() {
  if (isOfField) showError(null);
}

export function showError(text, ofField = false) {
  isOfField = ofField;
  byId("error-text").hidden = !text;
  byId("error-text").textContent = inWordsOfPage(text ?? "");
}
