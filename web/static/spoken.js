// What changes by itself, for those who hear the page: the text of elements with `data-spoken`, in one live region, the
// latest of each, and never more often than the pause. What shows twenty steps a second is spoken now and then.
const PAUSE_MS = 2000;
const region = document.getElementById("spoken");
const known = new Map();
const due = new Map();
let timer = null;

// Elements that are rendered anew share the value of `data-spoken`.
const keyOf = (part) => part.dataset.spoken || part.id;
const textOf = (part) => (part.closest("[hidden]") ? "" : part.textContent.trim().replace(/\s+/g, " "));

function speak() {
  timer = null;
  if (!due.size) return;
  region.textContent = [...due.values()].join(". ");
  due.clear();
  timer = setTimeout(speak, PAUSE_MS);
}

function listen(part) {
  const [key, text] = [keyOf(part), textOf(part)];
  if (known.get(key) === text) return;
  known.set(key, text);
  if (text) due.set(key, text);
  else due.delete(key);
  timer ??= setTimeout(speak, 0);
}

const partsOf = (node) => {
  const element = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
  const around = element?.closest("[data-spoken]");
  return around ? [around] : [...(element?.querySelectorAll("[data-spoken]") ?? [])];
};

document.querySelectorAll("[data-spoken]").forEach((part) => known.set(keyOf(part), textOf(part)));
new MutationObserver((changes) => {
  const nodes = changes.flatMap((change) => [change.target, ...change.addedNodes]).filter((node) => node.isConnected);
  new Set(nodes.filter((node) => !region.contains(node)).flatMap(partsOf)).forEach(listen);
}).observe(document.body, { subtree: true, childList: true, characterData: true, attributeFilter: ["hidden"] });
