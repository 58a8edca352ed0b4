// Rewriting the prompt where it stands, with a way back.
import { byId, call, showMessage } from "./common.js";

export function offerRewriting(setPrompt) {
  const button = byId("rewrite-here");
  const undo = byId("rewrite-undo");
  const prompt = byId("field-prompt");
  let request = null;
  let before = null;

  async function rewrite() {
    const own = new AbortController();
    const asked = prompt.value;
    request = own;
    button.textContent = "Stop rewriting";
    try {
      const { text } = await call("POST", "/api/rewrite", { prompt: asked }, own.signal);
      if (!text) showMessage("The model wrote nothing; the prompt is as it was.");
      else if (prompt.value !== asked) showMessage("The prompt was changed meanwhile and was left alone.");
      else {
        before = asked;
        undo.hidden = false;
        setPrompt(text);
      }
    } catch (error) {
      if (error.name !== "AbortError") showMessage(error.message);
    }
    request = null;
    button.textContent = "Rewrite";
  }

  button.addEventListener("click", () => (request ? request.abort() : rewrite()));
  undo.addEventListener("click", () => {
    setPrompt(before);
    undo.hidden = true;
    prompt.focus();
  });
}
