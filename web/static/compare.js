// Two pictures under a slider.
import { byId } from "./common.js";

const compare = byId("compare");
const slider = compare.querySelector("input");
const place = () => compare.style.setProperty("--share", `${slider.value}%`);
slider.addEventListener("input", place);
place();
