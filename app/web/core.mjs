// What the page computes, without a document: Node tests it, tests/app/web/core.test.mjs.

/** A face's score is the share of its points that is probably right: below this it is no good. */
export const LEAST_SCORE = 0.3;
const GOOD_SCORE = 0.5;
/** Frames of the camera after which faces are looked for again, to see who has come. */
export const DETECT_EVERY = 30;
/** Faces turned further than this have a turned box, as the service's own have. */
const UPRIGHT_DEGREES = 25;
const [SHORTEST_WAIT_MS, LONGEST_WAIT_MS] = [500, 15_000];

// Smoothing

const alpha = (hertz, seconds) => 1 / (1 + 1 / (2 * Math.PI * hertz * seconds));

/**
 * The One-Euro filter (Casiez, Roussel, Vogel, 2012): steady when a value rests, quick when it
 * moves. `least` is the cut-off at rest in hertz, `beta` what a unit of speed adds to it.
 */
export class OneEuro {
  #value = null;
  #speed = 0;

  constructor(least = 1.5, beta = 6) {
    Object.assign(this, { least, beta });
  }

  /** The value smoothed, `seconds` after the one before. */
  next(value, seconds) {
    if (this.#value === null) return (this.#value = value);
    const time = Math.max(seconds, 0.001);
    this.#speed += alpha(1, time) * ((value - this.#value) / time - this.#speed);
    const part = alpha(this.least + this.beta * Math.abs(this.#speed), time);
    return (this.#value += part * (value - this.#value));
  }
}

/** Smooths the points of faces from frame to frame; a face is the nearest one of the frame before. */
export class Smoother {
  #known = [];
  #at = 0;

  /** The faces with their points smoothed; `now` is in milliseconds. */
  next(faces, now) {
    const seconds = (now - this.#at) / 1000;
    const before = this.#known;
    this.#at = now;
    this.#known = [];
    return faces.map((face) => {
      const size = Math.max(1, face.box.width, face.box.height);
      const [x, y] = middle(face.landmarks);
      const near = before.findIndex(
        (old) =>
          old.filters.length === face.landmarks.length &&
          Math.hypot(old.x - x, old.y - y) < size / 2,
      );
      const known = near < 0 ? null : before.splice(near, 1)[0];
      const filters = known?.filters ?? face.landmarks.map(() => [new OneEuro(), new OneEuro()]);
      this.#known.push({ x, y, filters });
      // In face widths, so that a face far away is smoothed as much as a near one.
      const landmarks = face.landmarks.map((point, i) => ({
        ...point,
        x: filters[i][0].next(point.x / size, seconds) * size,
        y: filters[i][1].next(point.y / size, seconds) * size,
      }));
      return { ...face, landmarks };
    });
  }
}

// Boxes from frame to frame

/** The mean of points. */
export function middle(points) {
  const sum = points.reduce(([x, y], point) => [x + point.x, y + point.y], [0, 0]);
  return sum.map((value) => value / points.length);
}

/** How far a face is turned clockwise, by the line between its eyes; 0 where it has no eyes. */
export function roll(landmarks, groups) {
  if (!groups.left_eye || !groups.right_eye) return 0;
  const [left, right] = [groups.left_eye, groups.right_eye].map((eye) =>
    middle(eye.map((i) => landmarks[i])),
  );
  return (Math.atan2(right[1] - left[1], right[0] - left[0]) * 180) / Math.PI;
}

/** The middle and the extent of values; the service takes no box of no size. */
function span(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return [(low + high) / 2, Math.max(1, high - low)];
}

/** The box around a face's landmarks, as `boxes` takes it: `[x, y, width, height, roll?]`. */
export function boxAround(landmarks, groups) {
  const degrees = roll(landmarks, groups);
  const turned = Math.abs(degrees) > UPRIGHT_DEGREES;
  const angle = turned ? (degrees * Math.PI) / 180 : 0;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  // Along and across the face; its box is upright there.
  const along = landmarks.map(({ x, y }) => x * cos + y * sin);
  const across = landmarks.map(({ x, y }) => y * cos - x * sin);
  const [u, width] = span(along);
  const [v, height] = span(across);
  const box = [u * cos - v * sin - width / 2, u * sin + v * cos - height / 2, width, height];
  return [...box, ...(turned ? [degrees] : [])].map((value) => Math.round(value * 10) / 10);
}

/** Which boxes the next frame of the camera is sent with. */
export class Tracker {
  #boxes = null;
  #width;
  #since = 0;

  /** Boxes for a frame so wide, or null: look for faces. */
  boxesFor(width) {
    if (width !== this.#width) this.forget(); // a telephone was turned
    this.#width = width;
    return this.#boxes;
  }

  /** Take note of an answer: good faces are followed, for a while. */
  saw({ faces, model }) {
    this.#since = this.#boxes ? this.#since + 1 : 1;
    const good = faces.length && faces.every((face) => (face.score ?? 1) >= LEAST_SCORE);
    const follow = good && this.#since < DETECT_EVERY;
    this.#boxes = follow ? faces.map((face) => boxAround(face.landmarks, model.groups)) : null;
  }

  /** Look for faces in the next frame. */
  forget() {
    this.#boxes = null;
  }
}

// Asking

/** What people are told, and what may be done about it. */
export class Failure extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may be answered later. */
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

/** Some time, or until the signal is given. */
export const sleep = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/** Milliseconds to wait: what Retry-After says, in seconds or as a date, else longer each time. */
export function waitMs(retryAfter, failures, now) {
  const text = retryAfter?.trim() ?? "";
  const told = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  if (!Number.isNaN(told)) return Math.max(SHORTEST_WAIT_MS, told);
  return Math.min(LONGEST_WAIT_MS, 1000 * 2 ** failures);
}

/** The path and query of an alignment; brackets stay as they are, for people to read. */
export function alignPath({ boxes = null, heatmap = false, model = "" }) {
  const query = [
    "pose=true",
    ...(boxes ? [`boxes=${JSON.stringify(boxes)}`] : []),
    ...(heatmap ? ["heatmap=true"] : []),
    ...(model ? [`model=${encodeURIComponent(model)}`] : []),
  ];
  return `v1/align?${query.join("&")}`;
}

/** The type that a picture is sent with; the service goes by its bytes. */
export const sentType = (type) => (type.startsWith("image/") ? type : "application/octet-stream");

/** The answer's text. Throws Failure: the problem document's words, or that nobody answered. */
export async function ask(path, options, key, fetcher = fetch) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response, text;
  try {
    response = await fetcher(path, { ...options, headers });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The service cannot be reached. Is it running, and is the network up?");
  }
  if (response.ok) return text;
  const { status } = response;
  const retryAfter = response.headers.get("Retry-After");
  throw new Failure(explained(text, status), { status, retryAfter });
}

function explained(text, status) {
  try {
    const { title, detail, request_id: id } = JSON.parse(text);
    if (detail) return `${title}: ${detail} (${status}${id ? `, request ${id}` : ""})`;
  } catch {
    // A proxy's own page: it says nothing to people.
  }
  return `The service answered with status ${status}.`;
}

/** The command that asks the same. A key is named, not shown. */
export function curl({ path, base, type, name, key }) {
  const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;
  return [
    "curl -g",
    ...(key ? ['-H "Authorization: Bearer $KEY"'] : []),
    `-H ${quoted(`Content-Type: ${sentType(type)}`)}`,
    `--data-binary ${quoted(`@${name}`)}`,
    quoted(new URL(path, base).href.replaceAll("%22", '"')),
  ].join(" \\\n  ");
}

// Telling

/** The group of every landmark, by its index; "" for one in no group. */
export function groupNames(groups, count) {
  const names = Array(count).fill("");
  for (const [name, indices] of Object.entries(groups)) for (const i of indices) names[i] = name;
  return names;
}

/** `left_eye` as people write it. */
export const spoken = (name) => name.replaceAll("_", " ");

export const counted = (faces) => (faces.length === 1 ? "1 face" : `${faces.length} faces`);

export const rounded = (value, digits = 2) => (value == null ? "–" : value.toFixed(digits));

/** What there is to say of a face beside its points. */
export function facts(face) {
  const { box, score, pose } = face;
  const judged = score < LEAST_SCORE ? "probably wrong" : score < GOOD_SCORE ? "doubtful" : "good";
  return [
    `score ${rounded(score)}${score == null ? "" : `, ${judged}`}`,
    ...(box.score == null ? [] : [`detector ${rounded(box.score)}`]),
    `${Math.round(box.width)} × ${Math.round(box.height)} px`,
    ...(box.roll_degrees ? [`box turned ${Math.round(box.roll_degrees)}°`] : []),
    ...Object.entries(pose ?? {}).map(([name, value]) => `${name} ${rounded(value, 0)}°`),
  ];
}

/** What the live region says of an answer. */
export function summary({ faces, found_faces: found, timing_ms: timing }) {
  const more = found > faces.length ? ` of ${found} found` : "";
  return `${faces.length ? counted(faces) : "No face found"}${more}, in ${Math.round(timing.total)} ms.`;
}

/** Every point of every face, a line each. */
export function csv({ faces, model }) {
  const lines = faces.flatMap(({ landmarks }, face) => {
    const names = groupNames(model.groups, landmarks.length);
    return landmarks.map(({ x, y, score }, i) => [face, i, names[i], x, y, score ?? ""].join(","));
  });
  return ["face,point,group,x,y,score", ...lines, ""].join("\r\n");
}
