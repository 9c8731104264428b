// An answer as SVG text: what lies over the picture is what is downloaded. Knows no document.

import { counted, groupNames, rounded, spoken } from "./core.mjs";

const CIRCLE = "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0Z";
const PLUS = "M-.5-1.3H.5V-.5H1.3V.5H.5V1.3H-.5V.5H-1.3V-.5H-.5Z";

// By the group's place. Colours alone would not tell them apart to everybody, nor in print.
const MARKS = [
  ["#fff", CIRCLE],
  ["#ffdd57", "M0-1.4L1.3 1H-1.3Z"],
  ["#ff9f1c", "M0 1.4L1.3-1H-1.3Z"],
  ["#78dcff", "M0-1.5L1.5 0L0 1.5L-1.5 0Z"],
  ["#60ff80", "M-1-1H1V1H-1Z"],
  ["#d4ff00", PLUS],
  ["#ff8cc8", "M0-1.8L.5-.5L1.8 0L.5.5L0 1.8L-.5.5L-1.8 0L-.5-.5Z"],
  ["#e0b0ff", "M-.6-1.2H.6L1.3 0L.6 1.2H-.6L-1.3 0Z"],
  ["#0ff", `${CIRCLE}M-.5 0a.5.5 0 1 1 1 0a.5.5 0 1 1-1 0Z`],
];
const NO_GROUP = ["#ccc", CIRCLE];
const DARK = "#111";
const HEAT = "#ff5000";

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const place = (value) => Math.round(value * 1000) / 1000;

/** An element's text; attributes that are null are left out. */
function tag(name, attributes, ...content) {
  const texts = Object.entries(attributes)
    .filter(([, value]) => value != null)
    .map(([key, value]) => ` ${key}="${escaped(typeof value === "number" ? place(value) : value)}"`);
  return `<${name}${texts.join("")}>${content.join("")}</${name}>`;
}

/** Colour and shape of a group, by its name. */
function mark(groups, name) {
  const at = Object.keys(groups).indexOf(name);
  return at < 0 ? NO_GROUP : MARKS[at % MARKS.length];
}

function shape([color, path], attributes, ...content) {
  const outline = { stroke: DARK, "stroke-width": 0.7, "paint-order": "stroke" };
  const look = { d: path, fill: color, "fill-rule": "evenodd", ...outline };
  return tag("path", { ...look, ...attributes }, ...content);
}

/** A group's mark for the legend. */
export function legendMark(groups, name) {
  const box = { xmlns: "http://www.w3.org/2000/svg", viewBox: "-2.5 -2.5 5 5", "aria-hidden": "true" };
  return tag("svg", box, shape(mark(groups, name), {}));
}

/**
 * The answer over its picture, in the picture's pixels. `show` says what: points, numbers,
 * boundaries, heatmap, boxes. `unit` is how many of the picture's pixels one of the screen's is.
 * `picture` is an address of the picture, to be part of it.
 */
export function drawing({ image, faces, model }, { boundaries, show, unit, picture = null }) {
  // (0, 0) is the centre of the first pixel, so the picture begins half a pixel before it.
  const frame = { x: -0.5, y: -0.5, width: image.width, height: image.height };
  const parts = faces.map((face, at) => {
    const names = groupNames(model.groups, face.landmarks.length);
    // As large as a finger's pointer can tell apart, smaller where the face is small.
    const size = unit * Math.min(4.5, Math.max(1.5, face.box.width / unit / 50));
    return [
      ...(show.heatmap && face.heatmap ? [heat(face.heatmap, at)] : []),
      ...(show.boxes ? [boxed(face.box, faces.length > 1 ? at + 1 : "", unit)] : []),
      ...(show.boundaries ? curves(face, boundaries, names, model.groups, size) : []),
      ...(show.points ? points(face, names, model.groups, size) : []),
      ...(show.numbers ? numbers(face, size, unit) : []),
    ].join("");
  });
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `-0.5 -0.5 ${image.width} ${image.height}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `${faces.flatMap((face) => face.landmarks).length} points on ${counted(faces)}`,
  };
  const under = picture ? [tag("image", { href: picture, ...frame })] : [];
  return tag("svg", attributes, ...under, ...parts);
}

function points(face, names, groups, size) {
  return face.landmarks.map(({ x, y, score }, i) => {
    const title = `${i} ${spoken(names[i])}, score ${rounded(score)}`;
    const transform = `translate(${place(x)} ${place(y)}) scale(${place(size)})`;
    return shape(mark(groups, names[i]), { class: "point", transform }, tag("title", {}, escaped(title)));
  });
}

const lettered = (size) => ({
  "font-family": "sans-serif", "font-size": size,
  fill: "#fff", stroke: DARK, "stroke-width": size / 4, "paint-order": "stroke",
});

function numbers(face, size, unit) {
  const look = { class: "number", ...lettered(10 * unit) };
  return face.landmarks.map(({ x, y }, i) => tag("text", { ...look, x: x + 1.5 * size, y: y - size }, i));
}

function curves(face, boundaries, names, groups, size) {
  const line = { fill: "none", "stroke-linejoin": "round", "stroke-linecap": "round" };
  return boundaries.flatMap(({ name, landmarks }) => {
    const along = landmarks.map((i) => face.landmarks[i]);
    const where = { points: along.map(({ x, y }) => `${place(x)},${place(y)}`).join(" "), ...line };
    const [color] = mark(groups, names[landmarks[0]]);
    return [
      tag("polyline", { ...where, stroke: DARK, "stroke-width": 1.1 * size }),
      tag(
        "polyline",
        { ...where, class: "boundary", stroke: color, "stroke-width": 0.6 * size },
        tag("title", {}, escaped(spoken(name))),
      ),
    ];
  });
}

function boxed({ x, y, width, height, roll_degrees: turn }, number, unit) {
  const turned = turn ? `rotate(${turn} ${x + width / 2} ${y + height / 2})` : null;
  const line = { x, y, width, height, fill: "none", "stroke-width": 1.5 * unit, transform: turned };
  const label = { x, y: y - 4 * unit, transform: turned, ...lettered(16 * unit) };
  return [
    tag("rect", { ...line, stroke: DARK }),
    tag("rect", { ...line, class: "box", stroke: "#fff", "stroke-dasharray": 5 * unit }),
    tag("text", label, number),
  ].join("");
}

/** The boundaries' heatmap, as opaque as the network is certain. */
function heat({ box, png_base64: png }, at) {
  const href = `data:image/png;base64,${png}`;
  const image = tag("image", { ...box, href, preserveAspectRatio: "none" });
  const id = `heat${at}`;
  const mask = tag("mask", { id, maskUnits: "userSpaceOnUse", ...box }, image);
  return mask + tag("rect", { ...box, class: "heat", fill: HEAT, mask: `url(#${id})` });
}
