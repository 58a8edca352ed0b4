// The voting page: shows what the server asks, sends what the voter says, and knows nothing of what made a picture.
// A pair stays until its vote is saved; one that can't be saved is said to be, and can be sent again.

const SHORTEST_LOOK_MS = 250; // a key that is still held must not vote on the next pair
const KEYS = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", ArrowDown: "tie", 0: "tie", "=": "tie", b: "both_bad" };
const SAID = { left: "Left", right: "Right", tie: "Tie", both_bad: "Both bad" };

const byId = (id) => document.getElementById(id);
const pair = byId("pair");
const images = [byId("left"), byId("right")];

let voter = remembered("voter");
let shown = null; // what the server asks
let shownAt = 0; // when both pictures were there; 0 while they are not
let isSending = false;

function remembered(name) {
  return sessionStorage.getItem(name) ?? localStorage.getItem(name);
}

// Two tabs may have two voters; a new tab begins with the latest.
function remember(name, value) {
  sessionStorage.setItem(name, value);
  localStorage.setItem(name, value);
}

async function call(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw Object.assign(new Error("The server can't be reached."), { isAway: true });
  }
  const content = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw Object.assign(new Error(content.error), { field: content.field });
  return content;
}

function say(text, again = null) {
  const message = byId("message");
  message.replaceChildren(...(text ? [text] : []));
  if (text && again) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", again);
    message.append(button);
  }
}

async function ask(path, body, spoken) {
  if (isSending) return;
  isSending = true;
  try {
    const next = await call(path, { voter, ...body });
    say("");
    isSending = false;
    await show(next);
    byId("spoken").textContent = spoken;
  } catch (error) {
    isSending = false;
    unmark();
    if (error.isAway) say(`${error.message} ${body.choice ? "This vote is not saved." : ""}`, () => ask(path, body, spoken));
    else if (error.field === "voter" && path !== "undo") askName(error.message);
    else if (error.field === "ballot") {
      await ask("next", {}, "Another pair.");
      say(error.message);
    } else say(error.message, body.choice ? () => ask(path, body, spoken) : null);
  }
}

async function show(next) {
  shown = next;
  shownAt = 0;
  byId("voter-form").hidden = true;
  byId("voter-shown").hidden = false;
  byId("voter-name").textContent = voter;
  byId("foot").hidden = false;
  byId("undo").disabled = !next.can_undo;
  byId("ballot").hidden = !next.ballot;
  byId("over").hidden = Boolean(next.ballot);
  showProgress(next);
  unmark();
  if (!next.ballot) return showOver(next);
  byId("prompt").textContent = next.prompt;
  pair.dataset.loading = "";
  pair.classList.remove("full");
  images.forEach((image, side) => {
    Object.assign(image, next.sizes[side]); // keeps the place before the picture is there
    image.src = `pictures/${next.pictures[side]}`;
  });
  try {
    await Promise.all(images.map((image) => image.decode())); // both or none: the first one would be looked at longer
  } catch {
    if (shown === next) say("A picture can't be shown.", () => ask("next", {}, ""));
    return;
  }
  if (shown !== next) return;
  delete pair.dataset.loading;
  shownAt = performance.now();
}

function showOver(next) {
  byId("over-title").textContent = next.pairs ? "You have seen every pair there is." : "There is no pair yet.";
  byId("over-text").textContent = next.pairs
    ? "Thank you. analyze.py and the report say what the votes mean. Load the page again once more pictures are drawn."
    : "A pair is two levels' pictures of one prompt and seed. Load the page again once they are drawn.";
  byId("over-title").focus();
}

function showProgress(next) {
  byId("progress").max = Math.max(next.pairs, 1);
  byId("progress").value = next.pairs_seen;
  const others = next.votes_of_all - next.votes;
  const beside = others ? `, ${others} of others` : "";
  byId("progress-text").textContent = `${next.votes} ${next.votes === 1 ? "vote" : "votes"} of yours${beside}; ${next.pairs_seen} of ${next.pairs} pairs seen`;
}

function vote(choice) {
  const looked = performance.now() - shownAt;
  if (!shown?.ballot || !shownAt || looked < SHORTEST_LOOK_MS || isSending) return;
  document.querySelectorAll(`[data-choice="${choice}"]`).forEach((button) => button.classList.add("chosen"));
  ask("vote", { ballot: shown.ballot, choice, seconds: looked / 1000 }, `${SAID[choice]}. Next pair.`);
}

function unmark() {
  document.querySelectorAll(".chosen").forEach((button) => button.classList.remove("chosen"));
}

function undo() {
  if (shown?.can_undo) ask("undo", {}, "The last vote is taken back; here is its pair again.");
}

function askName(problem = "") {
  shown = null;
  for (const id of ["ballot", "over", "foot", "voter-shown"]) byId(id).hidden = true;
  byId("voter-form").hidden = false;
  byId("voter").value = voter ?? "";
  byId("voter").focus();
  say(problem);
}

// Both pictures at full size, moved together.
function toggleFull() {
  pair.classList.toggle("full");
}
const sides = [...document.querySelectorAll(".side")];
sides.forEach((side, index) => {
  side.addEventListener("scroll", () => {
    const other = sides[1 - index];
    if (other.scrollTop !== side.scrollTop || other.scrollLeft !== side.scrollLeft) other.scrollTo(side.scrollLeft, side.scrollTop);
  });
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.target === byId("voter") || event.altKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isUndo = key === "u" || key === "Backspace" || (key === "z" && event.ctrlKey);
  if (event.ctrlKey && !isUndo) return;
  if (isUndo) undo();
  else if (key === "z") toggleFull();
  else if (KEYS[key]) vote(KEYS[key]);
  else return;
  event.preventDefault();
});
document.querySelectorAll("[data-choice]").forEach((button) => button.addEventListener("click", () => vote(button.dataset.choice)));
byId("undo").addEventListener("click", undo);
byId("change-voter").addEventListener("click", () => askName());
byId("voter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  voter = byId("voter").value.trim().replace(/\s+/g, " ");
  remember("voter", voter);
  ask("next", {}, "The first pair.");
});
byId("theme-button").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
if (voter) ask("next", {}, "");
else askName();
