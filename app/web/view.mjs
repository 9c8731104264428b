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
let [shown, address] = [null, null];

/** What is to be shown. */
export const show = () => Object.fromEntries(switches.map((box) => [box.name, box.checked]));

/** Show a picture, without points as yet. Rejects if the browser cannot show it. */
export async function showPicture(blob, described) {
  URL.revokeObjectURL(address);
  photo.src = address = URL.createObjectURL(blob);
  photo.alt = described;
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
$("faces").addEventListener("toggle", fillTables, true); // it does not bubble
// Marks keep their size on the screen, whatever the picture's.
new ResizeObserver(redraw).observe(photo);

/** The answer as a file of its own, with the picture in it. */
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

/** Faces keep their places, so that who reads one of the camera's is not thrown out of it. */
function showFaces({ faces }) {
  const list = $("faces");
  while (list.children.length > faces.length) list.lastElementChild.remove();
  while (list.children.length < faces.length) {
    list.append($("face").content.cloneNode(true));
    const number = list.children.length;
    list.lastElementChild.querySelector("div").setAttribute("aria-label", `Points of face ${number}`);
  }
  faces.forEach((face, at) => {
    list.children[at].querySelector("summary").textContent = facts(face).join(" · ");
  });
  fillTables();
}

/** Only those that are open: so many rows at every frame of the camera would be lost time. */
function fillTables() {
  const { faces, model } = shown.answer;
  for (const [at, details] of document.querySelectorAll("#faces details").entries()) {
    const rows = details.open ? pointRows(faces[at].landmarks, model.groups) : [];
    details.querySelector("tbody").replaceChildren(...rows);
  }
}

function pointRows(landmarks, groups) {
  const names = groupNames(groups, landmarks.length);
  return landmarks.map(({ x, y, score }, i) =>
    row(i, spoken(names[i]), rounded(x, 1), rounded(y, 1), rounded(score)),
  );
}

const row = (first, ...cells) =>
  element("tr", {}, element("th", { scope: "row" }, first), ...cells.map((text) => element("td", {}, text)));

function showTiming(timing) {
  const rows = Object.entries(timing).map(([name, took]) => row(spoken(name), rounded(took, 1)));
  $("timing").replaceChildren(...rows);
}
