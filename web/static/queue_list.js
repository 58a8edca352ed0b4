// The jobs that wait or run beside the one on the canvas, each with its end.
import { byId } from "./common.js";

export function showQueue(jobs, cancel) {
  const list = byId("queue");
  list.hidden = jobs.length === 0;
  list.replaceChildren(...jobs.map((job) => {
    const item = document.createElement("li");
    item.dataset.id = job.id;
    const title = document.createElement("span");
    title.className = "queue-title";
    title.textContent = job.title;
    const state = document.createElement("span");
    state.className = "muted";
    state.textContent = job.state === "running" ? `step ${job.step} of ${job.total || "?"}` : job.state;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link danger";
    button.textContent = "Cancel";
    button.setAttribute("aria-label", `Cancel ${job.title}`);
    button.addEventListener("click", () => cancel(job.id));
    item.append(title, state, button);
    return item;
  }));
}
