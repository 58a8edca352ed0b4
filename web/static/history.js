// Picking two images to compare, the slider, and the arrow keys.
import { byId } from "./common.js";

const form = byId("compare-form");
if (form) {
  let picked = [...document.querySelectorAll(".compare-pick:checked")].slice(-2); // picked before this ran
  const show = () => {
    form.hidden = picked.length === 0;
    byId("compare-text").textContent = picked.length === 1 ? "1 image picked; pick another" : "2 images picked";
    form.querySelector("[type=submit]").disabled = picked.length !== 2;
    form.left.value = picked[0]?.value ?? "";
    form.right.value = picked[1]?.value ?? "";
    document.querySelectorAll(".compare-pick").forEach((box) => {
      box.checked = picked.includes(box);
      box.closest(".card").classList.toggle("picked", box.checked);
    });
  };
  document.addEventListener("change", (event) => {
    if (!event.target.matches(".compare-pick")) return;
    picked = picked.filter((box) => box !== event.target);
    if (event.target.checked) picked = [...picked, event.target].slice(-2);
    show();
  });
  byId("compare-clear").addEventListener("click", () => { picked = []; show(); });
  document.addEventListener("htmx:afterSwap", () => {
    picked = picked
      .map((box) => document.querySelector(`.compare-pick[value="${CSS.escape(box.value)}"]`))
      .filter((box) => box);
    show();
  });
  show();
}

const compare = byId("compare");
if (compare) {
  const slider = compare.querySelector("input");
  const place = () => compare.style.setProperty("--share", `${slider.value}%`);
  slider.addEventListener("input", place);
  place();
}

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, textarea, select") || event.altKey || event.ctrlKey || event.metaKey) return;
  const link = { ArrowLeft: "newer-link", ArrowRight: "older-link" }[event.key];
  byId(link)?.click();
});
