// An answer on the page: the picture and what lies over it, the faces, the times.

import { facts, groupNames, rounded, spoken } from "./core.mjs";
import { drawing, legendMark } from "./svg.mjs";

export const $ = (id) => document.getElementById(id);

/** An element with texts or elements in it. */
function element(name, attributes, ...content) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...content);
  return made;
}

/** SVG text as an element. A style attribute would be refused: there is none. */
function graphic(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  return document.importNode(parsed.documentElement, true);
}

const photo = $("photo");
const switches = [...document.querySelectorAll("fieldset input")];

let shown = null;
let address = null;

/** What the switches say is shown. */
export const show = () => Object.fromEntries(switches.map((box) => [box.name, box.checked]));

/** Show a picture, without points as yet. Rejects if the browser cannot show it. */
export async function showPicture(blob, described) {
  const before = address;
  photo.src = address = URL.createObjectURL(blob);
  photo.alt = described;
  if (before) URL.revokeObjectURL(before);
  await photo.decode();
  $("result").hidden = false;
  fit();
}

/** Take the points away: the picture is another one now. */
export function clearAnswer() {
  shown = null;
  $("overlay").replaceChildren();
  $("faces").replaceChildren();
}

/** Show an answer over the picture it belongs to. */
export function showAnswer(answer, boundaries) {
  shown = { answer, boundaries };
  redraw();
  showLegend(answer.model.groups);
  showFaces(answer);
  showTiming(answer.timing_ms);
}

/** Whether the browser turned the picture otherwise than the service: points would be beside it. */
export function turnedOtherwise({ width, height }) {
  return photo.naturalWidth > photo.naturalHeight !== width > height && width !== height;
}

function redraw() {
  if (!shown) return;
  const unit = shown.answer.image.width / (photo.clientWidth || 1);
  const options = { boundaries: shown.boundaries, show: show(), unit };
  $("overlay").replaceChildren(graphic(drawing(shown.answer, options)));
}

/** At zoom 1, all of the picture is to be seen. */
function fit() {
  const zoom = Number($("zoom").value);
  const ratio = photo.naturalWidth / photo.naturalHeight;
  $("sheet").style.width = `calc(${zoom} * min(100%, ${75 * ratio}vh))`;
  $("zoomed").value = `${zoom}×`;
}

$("zoom").addEventListener("input", fit);
for (const box of switches) box.addEventListener("change", redraw);
// Marks keep their size on the screen, whatever the picture's.
new ResizeObserver(redraw).observe(photo);

/** The answer as a file of its own, with the picture in it, as large as it is shown best. */
export function svgFile() {
  const { answer, boundaries } = shown;
  const { width, height } = answer.image;
  const scale = Math.min(1, 2048 / Math.max(width, height));
  const canvas = element("canvas", { width: width * scale, height: height * scale });
  canvas.getContext("2d").drawImage(photo, 0, 0, canvas.width, canvas.height);
  const picture = canvas.toDataURL("image/jpeg", 0.9);
  return drawing(answer, { boundaries, show: show(), unit: width / 1000, picture });
}

function showLegend(groups) {
  const names = Object.keys(groups);
  if ($("legend").dataset.names === names.join()) return;
  $("legend").dataset.names = names.join();
  const items = names.map((name) => element("li", {}, graphic(legendMark(groups, name)), spoken(name)));
  $("legend").replaceChildren(...items);
}

function showFaces({ faces, model }) {
  const open = [...$("faces").querySelectorAll("details")].map((details) => details.open);
  const items = faces.map((face, at) => {
    const details = element("details", { open: open[at] ?? false });
    details.append(element("summary", {}, facts(face).join(" · ")));
    // Made only to be read: sixty rows a face would be lost time at every frame of the camera.
    const fill = () => {
      if (details.open && !details.querySelector("table")) details.append(table(face, model, at));
    };
    details.addEventListener("toggle", fill);
    fill();
    return element("li", {}, details);
  });
  // While somebody is on one of them, its place and the focus stay.
  const focused = [...$("faces").children].findIndex((item) => item.contains(document.activeElement));
  $("faces").replaceChildren(...items);
  items[focused]?.querySelector("summary").focus({ preventScroll: true });
}

function table(face, model, at) {
  const names = groupNames(model.groups, face.landmarks.length);
  const head = ["Point", "Group", "x", "y", "Score"].map((text) => element("th", { scope: "col" }, text));
  const rows = face.landmarks.map(({ x, y, score }, i) => {
    const cells = [spoken(names[i]), rounded(x, 1), rounded(y, 1), rounded(score)];
    const number = element("th", { scope: "row" }, i);
    return element("tr", {}, number, ...cells.map((text) => element("td", {}, text)));
  });
  const whole = element(
    "table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows),
  );
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region" }, whole);
  scroll.ariaLabel = `Points of face ${at + 1}`;
  return scroll;
}

function showTiming(timing) {
  const rows = Object.entries(timing).map(([stage, took]) =>
    element("tr", {}, element("th", { scope: "row" }, spoken(stage)), element("td", {}, rounded(took, 1))),
  );
  $("timing").replaceChildren(...rows);
}
