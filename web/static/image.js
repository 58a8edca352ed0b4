// The page of one image: full size, star, delete, and the arrow keys.
import "./viewer.js";
import { byId, call, showMessage } from "./common.js";

const star = byId("star-image");

star.addEventListener("click", async () => {
  const isStarred = star.getAttribute("aria-pressed") !== "true";
  try {
    await call("PATCH", `/api/history/${star.dataset.id}`, { is_starred: isStarred });
  } catch (error) {
    showMessage(error.message);
    return;
  }
  star.setAttribute("aria-pressed", isStarred);
  star.textContent = isStarred ? "Starred" : "Star";
});

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
  const link = { ArrowLeft: "newer-link", ArrowRight: "older-link" }[event.key];
  byId(link)?.click();
});
