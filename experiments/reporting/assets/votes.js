// Votes on pairs of pictures, given in the report itself: kept in this browser, and exported as the file that vote.py adds.
// Pairs of levels come by fixed shares, as without votes to go by; the page where pairs follow the votes is vote.py's own.

const voting = document.getElementById("voting");
const booth = document.getElementById("booth");
const ballotImages = [document.getElementById("ballot-left"), document.getElementById("ballot-right")];
const AMONG_OTHERS = 0.1; // a pair without the baseline, beside one with it; as in experiments/voting/choice.py
const REPEAT_SHARE = 0.1;
const LEAST_BETWEEN = 5;
const SHORTEST_LOOK_MS = 250;
const VOTE_KEYS = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", ArrowDown: "tie", 0: "tie", b: "both_bad" };
const votesKey = `votes of ${voting.dataset.experiment}`;

let lines = []; // as in the file: votes, and what was taken back
let ballot = null;
let ballotShownAt = 0;
let isKept = true;

try {
  lines = JSON.parse(localStorage.getItem(votesKey) ?? "[]");
  document.getElementById("ballot-voter").value = localStorage.getItem("voter") ?? "";
} catch { // a page in a sandbox, as the web server shows reports, has no storage
  isKept = false;
}

const randomName = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const anyOf = (items) => items[Math.floor(Math.random() * items.length)];
const votingName = () => document.getElementById("ballot-voter").value.trim().replace(/\s+/g, " ");

function standingVotes() {
  const undone = new Set(lines.filter((line) => line.kind === "undo").map((line) => line.id));
  return lines.filter((line) => line.kind === "vote" && !undone.has(line.id));
}

// Pairs of levels, each with the rows where both have a picture that can be shown, and not the same one.
const canShow = (run) => run >= 0 && !data.run.error[run] && data.run.sha256[run];
const levelPairs = data.levels.flatMap((_, first) => data.levels.slice(first + 1).map((_, after) => ({ first, second: first + 1 + after })))
  .map(({ first, second }) => ({
    first, second,
    share: [first, second].includes(data.baseline) ? 1 : AMONG_OTHERS,
    rows: rows.filter(({ runs }) => canShow(runs[first]) && canShow(runs[second]) && data.run.sha256[runs[first]] !== data.run.sha256[runs[second]]),
  }));

function nextBallot() {
  const standing = standingVotes();
  const own = standing.filter((vote) => vote.voter === votingName());
  const repeated = new Set(own.map((vote) => vote.repeats));
  const old = own.slice(0, -LEAST_BETWEEN).filter((vote) => !vote.repeats && !repeated.has(vote.id));
  const isSwapped = Math.random() < 0.5;
  if (old.length && Math.random() < REPEAT_SHARE) {
    const vote = anyOf(old);
    const sides = [vote.left, vote.right].map((id) => data.run.id.indexOf(id));
    if (sides.every((run) => run >= 0)) return { ...vote, repeats: vote.id, runs: isSwapped ? sides.reverse() : sides };
  }
  const seen = new Set(own.map((vote) => [vote.left, vote.right].sort().join("\n")));
  const shown = new Map();
  for (const vote of standing) if (!vote.repeats) for (const id of [vote.left, vote.right]) shown.set(id, (shown.get(id) ?? 0) + 1);
  const open = levelPairs
    .map((pair) => ({ ...pair, rows: pair.rows.filter(({ runs }) => !seen.has([data.run.id[runs[pair.first]], data.run.id[runs[pair.second]]].sort().join("\n"))) }))
    .filter((pair) => pair.rows.length);
  if (!open.length) return null;
  const whole = open.reduce((sum, pair) => sum + pair.share, 0);
  let drawn = Math.random() * whole;
  const pair = open.find(({ share }) => (drawn -= share) < 0) ?? open.at(-1);
  const times = (row) => (shown.get(data.run.id[row.runs[pair.first]]) ?? 0) + (shown.get(data.run.id[row.runs[pair.second]]) ?? 0);
  const least = Math.min(...pair.rows.map(times));
  const places = pair.rows.filter((row) => times(row) === least);
  const row = anyOf(places);
  const runs = [row.runs[pair.first], row.runs[pair.second]];
  const probability = pair.share / whole;
  return { probability, evenly: probability, of_pictures: 1 / places.length, repeats: null, runs: isSwapped ? runs.reverse() : runs };
}

async function showBallot(next = nextBallot()) {
  ballot = next;
  ballotShownAt = 0;
  document.getElementById("ballot-over").hidden = Boolean(ballot);
  document.getElementById("ballot-pair").hidden = !ballot;
  document.getElementById("ballot-undo").disabled = !standingVotes().some((vote) => vote.voter === votingName());
  tellVotes();
  if (!ballot) return;
  document.getElementById("ballot-prompt").textContent = data.prompts[rows[data.run.row[ballot.runs[0]]].prompt].text;
  document.getElementById("ballot-pair").classList.add("loading");
  ballotImages.forEach((image, side) => { image.src = picture(ballot.runs[side]); });
  await Promise.allSettled(ballotImages.map((image) => image.decode())); // both or none: the first would be looked at longer
  if (ballot !== next) return;
  document.getElementById("ballot-pair").classList.remove("loading");
  ballotShownAt = performance.now();
}

function keep(line) {
  lines.push({ format: 1, ...line });
  try {
    localStorage.setItem(votesKey, JSON.stringify(lines));
  } catch {
    isKept = false;
  }
}

function giveVote(choice) {
  const looked = performance.now() - ballotShownAt;
  if (!ballot || !ballotShownAt || looked < SHORTEST_LOOK_MS) return;
  const { probability, evenly, of_pictures, repeats, runs } = ballot;
  const [left, right] = runs.map((run) => data.run.id[run]);
  const pictures = runs.map((run) => data.run.sha256[run]);
  const at = new Date().toISOString().replace(/\.\d+Z$/, "+00:00");
  keep({ kind: "vote", id: randomName(), voter: votingName(), at, left, right, pictures, choice, probability, evenly, of_pictures, repeats, seconds: Math.round(looked / 10) / 100 });
  document.getElementById("spoken-vote").textContent = "Kept. Next pair.";
  showBallot();
}

function undoVote() {
  const last = standingVotes().filter((vote) => vote.voter === votingName()).at(-1);
  if (!last) return;
  keep({ kind: "undo", id: last.id, voter: last.voter, at: new Date().toISOString() });
  const runs = [last.left, last.right].map((id) => data.run.id.indexOf(id));
  showBallot(runs.every((run) => run >= 0) ? { ...last, runs } : undefined);
}

function tellVotes() {
  const count = standingVotes().length;
  const where = isKept ? "in this browser" : "only until this page is closed: export them before";
  const text = count ? `${count} ${count === 1 ? "vote" : "votes"}, ${where}` : isKept ? "" : "Votes are kept only until this page is closed.";
  for (const id of ["votes-count", "ballot-count"]) document.getElementById(id).textContent = text;
  document.getElementById("export-votes").disabled = !lines.length;
}

function exportVotes() {
  const file = new Blob(lines.map((line) => `${JSON.stringify(line)}\n`), { type: "application/jsonl" });
  const link = element("a", { href: URL.createObjectURL(file), download: `votes-${voting.dataset.experiment}.jsonl` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function beginVotes() {
  if (!votingName()) {
    document.getElementById("votes-count").textContent = "Write your name first, so that your votes can be told from others'.";
    return document.getElementById("ballot-voter").focus();
  }
  try {
    localStorage.setItem("voter", votingName());
  } catch {
    isKept = false;
  }
  booth.showModal();
  showBallot();
}

// no form: a page in a sandbox may not submit one
document.getElementById("begin-votes").addEventListener("click", beginVotes);
document.getElementById("ballot-voter").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // or the same key would press the first button of the ballot
  beginVotes();
});
booth.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (key === "u" || key === "Backspace") undoVote();
  else if (VOTE_KEYS[key]) giveVote(VOTE_KEYS[key]);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
booth.querySelectorAll("[data-vote]").forEach((button) => button.addEventListener("click", () => giveVote(button.dataset.vote)));
document.getElementById("ballot-undo").addEventListener("click", undoVote);
document.getElementById("ballot-close").addEventListener("click", () => booth.close());
document.getElementById("export-votes").addEventListener("click", exportVotes);
voting.hidden = !levelPairs.some((pair) => pair.rows.length);
tellVotes();
