// An answer on the page: the picture and what lies over it, the faces, the times.

import { facts, groupNames, middle, rounded, spoken } from "./core.mjs";
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

const [photo, stage] = [$("photo"), $("stage")];
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
  for (const id of ["overlay", "faces", "timing", "curl"]) $(id).replaceChildren();
}

/** Show an answer over the picture it belongs to. */
export function showAnswer(answer, boundaries) {
  shown = { answer, boundaries };
  redraw();
  showLegend(answer.model.groups);
  showFaces(answer);
  showTiming(answer.timing_ms);
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
  $("sheet").style.width = `calc(${zoom} * min(100%, ${70 * ratio}vh))`;
  $("zoomed").value = `${zoom}×`;
}

/** Enlarge about what is in the middle: at first the first face. */
function enlarge() {
  const { clientWidth: width, clientHeight: height } = stage;
  const whole = stage.scrollWidth <= width && stage.scrollHeight <= height;
  const [face] = shown?.answer.faces ?? [];
  const [x, y] = whole && face
    ? middle(face.landmarks).map((value) => value / shown.answer.image.width)
    : [stage.scrollLeft + width / 2, stage.scrollTop + height / 2].map((v) => v / photo.clientWidth);
  fit();
  const now = photo.clientWidth;
  stage.scrollTo(x * now - stage.clientWidth / 2, y * now - stage.clientHeight / 2);
}

$("zoom").addEventListener("input", enlarge);
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
    // Made only to be read: so many rows at every frame of the camera would be lost time.
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

const row = (first, ...cells) =>
  element("tr", {}, element("th", { scope: "row" }, first), ...cells.map((text) => element("td", {}, text)));

function table(face, model, at) {
  const names = groupNames(model.groups, face.landmarks.length);
  const head = ["Point", "Group", "x", "y", "Score"].map((text) => element("th", { scope: "col" }, text));
  const rows = face.landmarks.map(({ x, y, score }, i) =>
    row(i, spoken(names[i]), rounded(x, 1), rounded(y, 1), rounded(score)),
  );
  const whole = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region" }, whole);
  scroll.ariaLabel = `Points of face ${at + 1}`;
  return scroll;
}

function showTiming(timing) {
  const rows = Object.entries(timing).map(([name, took]) => row(spoken(name), rounded(took, 1)));
  $("timing").replaceChildren(...rows);
}
