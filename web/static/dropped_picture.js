// A picture dropped or pasted on the page: its settings go into the form.
import { byId, call, showMessage } from "./common.js";

export function offerDrop(fill) {
  const hint = byId("drop-hint");
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  let request = null;

  async function restoreFrom(file) {
    request?.abort();
    request = new AbortController();
    try {
      const answer = await call("POST", "/api/image-parameters", file, request.signal);
      fill(answer.params);
      showMessage([`Settings restored from ${file.name}.`, ...answer.notices].join(" "), "good");
    } catch (error) {
      if (error.name !== "AbortError") showMessage(error.message);
    }
  }

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
}
