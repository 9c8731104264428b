// What the page computes; Node's own runner, which test_core.py calls.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as core from "../../../app/web/core.mjs";
import { drawing, legendMark } from "../../../app/web/svg.mjs";

const groups = { jaw: [0, 1], left_eye: [2, 3], right_eye: [4, 5] };
const at = (x, y, score = 0.5) => ({ x, y, score });

/** A face of 100 px whose eyes are level, turned clockwise about (200, 300). */
function face(degrees = 0, score = 0.8) {
  const upright = [[-50, 50], [50, 50], [-40, -50], [-20, -50], [20, -50], [40, -50]];
  const angle = (degrees * Math.PI) / 180;
  const landmarks = upright.map(([x, y]) =>
    at(200 + x * Math.cos(angle) - y * Math.sin(angle), 300 + x * Math.sin(angle) + y * Math.cos(angle)),
  );
  const box = { x: 150, y: 250, width: 100, height: 100, roll_degrees: degrees, score: 0.9 };
  return { box, score, landmarks };
}

const answerOf = (...faces) => ({
  faces,
  found_faces: faces.length,
  image: { width: 640, height: 480 },
  model: { name: "a", groups },
  timing_ms: { read: 0.3, total: 75.6 },
});

test("One-Euro passes on what rests and stills what trembles", () => {
  const filter = new core.OneEuro();
  for (let i = 0; i < 20; i++) assert.equal(filter.next(7, 0.1), 7);
  const trembling = new core.OneEuro();
  const smoothed = Array.from({ length: 200 }, (_, i) => trembling.next(i % 2 ? 0.01 : -0.01, 0.1));
  const swing = Math.max(...smoothed.slice(100)) - Math.min(...smoothed.slice(100));
  assert.ok(swing < 0.016, `${swing}`);
});

test("One-Euro follows what moves fast more closely than what moves slowly", () => {
  const lag = (speed) => {
    const filter = new core.OneEuro();
    let value;
    for (let i = 0; i < 100; i++) value = filter.next(i * speed * 0.1, 0.1);
    return (99 * speed * 0.1 - value) / speed;
  };
  assert.ok(lag(2) < lag(0.05) / 2, `${lag(2)}, ${lag(0.05)}`);
});

test("two answers at the same moment are no division by nothing", () => {
  const filter = new core.OneEuro();
  filter.next(1, 0);
  assert.ok(Number.isFinite(filter.next(2, 0)));
});

test("faces are smoothed with their own past, whatever their order", () => {
  const moved = (dx) => {
    const one = face();
    return { ...one, landmarks: one.landmarks.map((p) => ({ ...p, x: p.x + dx })) };
  };
  const smoother = new core.Smoother();
  smoother.next([moved(0), moved(300)], 0);
  const [far, near] = smoother.next([moved(300), moved(0)], 100);
  assert.ok(Math.abs(far.landmarks[0].x - moved(300).landmarks[0].x) < 1e-9);
  assert.ok(Math.abs(near.landmarks[0].x - moved(0).landmarks[0].x) < 1e-9);
  const [jumped] = smoother.next([moved(1000)], 200);
  assert.equal(jumped.landmarks[0].x, moved(1000).landmarks[0].x, "somebody else is not smoothed");
  const [trembled] = smoother.next([moved(1002)], 300);
  const x = trembled.landmarks[0].x;
  assert.ok(x > moved(1000).landmarks[0].x && x < moved(1002).landmarks[0].x, `${x}`);
  assert.equal(trembled.landmarks[0].score, 0.5);
});

test("a box encloses its landmarks, and is turned with a turned face", () => {
  assert.deepEqual(core.boxAround(face(0).landmarks, groups), [150, 250, 100, 100]);
  assert.deepEqual(core.boxAround(face(20).landmarks, groups).length, 4);
  for (const degrees of [40, -90, 150]) {
    const [x, y, width, height, turn] = core.boxAround(face(degrees).landmarks, groups);
    assert.deepEqual([x, y, width, height, turn].map(Math.round), [150, 250, 100, 100, degrees]);
  }
  assert.equal(core.roll(face(40).landmarks, { jaw: [0, 1] }), 0, "no eyes, no turn");
  const point = core.boxAround([at(5, 5)], {});
  assert.deepEqual(point.slice(2), [1, 1], "the service takes no box of no size");
});

test("the camera follows good faces and looks again for lost ones, and now and then", () => {
  const tracker = new core.Tracker();
  const { width } = answerOf().image;
  assert.equal(tracker.boxesFor(width), null);
  tracker.saw(answerOf(face()));
  assert.deepEqual(tracker.boxesFor(width), [[150, 250, 100, 100]]);
  tracker.saw(answerOf(face(0, core.LEAST_SCORE - 0.01)));
  assert.equal(tracker.boxesFor(width), null);
  tracker.saw(answerOf());
  assert.equal(tracker.boxesFor(width), null);
  const sent = Array.from({ length: 2 * core.DETECT_EVERY }, () => {
    const boxes = tracker.boxesFor(width);
    tracker.saw(answerOf(face()));
    return boxes === null;
  });
  const looked = sent.flatMap((looks, i) => (looks ? [i] : []));
  assert.deepEqual(looked, [0, core.DETECT_EVERY]);
  tracker.forget();
  assert.equal(tracker.boxesFor(width), null);
});

test("a telephone that was turned looks for its faces again", () => {
  const tracker = new core.Tracker();
  tracker.boxesFor(640);
  tracker.saw(answerOf(face()));
  assert.equal(tracker.boxesFor(480), null);
  assert.equal(tracker.boxesFor(640), null, "they have moved on since");
});

test("Retry-After is obeyed, in seconds or as a date; without it, waits grow", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.equal(core.waitMs("7", 0, now), 7000);
  assert.equal(core.waitMs("Thu, 01 Jan 2026 00:00:05 GMT", 0, now), 5000);
  assert.equal(core.waitMs("Wed, 31 Dec 2025 00:00:05 GMT", 0, now), 500);
  assert.equal(core.waitMs("0", 0, now), 500, "nobody is asked without a pause");
  const waits = [0, 1, 2, 9].map((failures) => core.waitMs(null, failures, now));
  assert.deepEqual(waits, [1000, 2000, 4000, 15000]);
  assert.equal(core.waitMs("soon", 0, now), 1000);
});

test("what passes is told from what does not", () => {
  const passes = (status) => new core.Failure("", { status }).passes;
  assert.deepEqual([0, 429, 502, 503, 504].map(passes), Array(5).fill(true));
  assert.deepEqual([400, 401, 413, 415, 422, 500].map(passes), Array(6).fill(false));
});

test("paths hold what was asked for and no more", () => {
  assert.equal(core.alignPath({}), "v1/align?pose=true");
  assert.equal(
    core.alignPath({ boxes: [[1, 2, 3, 4.5]], heatmap: true, model: "a b" }),
    "v1/align?pose=true&boxes=[[1,2,3,4.5]]&heatmap=true&model=a%20b",
  );
});

test("the command quotes names, and shows no key", () => {
  const asked = { path: "v1/align?boxes=[[1,2,3,4]]", base: "https://x.test/face/", type: "image/png" };
  const line = core.curl({ ...asked, name: "it's $me.png", key: "secret" });
  assert.ok(line.includes("--data-binary '@it'\\''s $me.png'"), line);
  assert.ok(line.includes("'https://x.test/face/v1/align?boxes=[[1,2,3,4]]'"), line);
  assert.ok(line.includes('"Authorization: Bearer $KEY"'));
  assert.ok(!line.includes("secret"));
  assert.ok(!core.curl({ ...asked, name: "a.png", key: "" }).includes("Authorization"));
  assert.ok(core.curl({ ...asked, type: "text/plain", name: "a" }).includes("application/octet-stream"));
});

const answering = (body, init) => () => Promise.resolve(new Response(body, init));

test("an answer is its text, asked for with the key", async () => {
  let sent;
  const fetcher = (path, options) => ((sent = { path, ...options }), answering("{}")());
  assert.equal(await core.ask("v1/models", { headers: { Accept: "a/b" } }, "k", fetcher), "{}");
  assert.deepEqual(sent, { path: "v1/models", headers: { Accept: "a/b", Authorization: "Bearer k" } });
  await core.ask("v1/models", {}, "", fetcher);
  assert.deepEqual(sent.headers, {});
});

test("problems are told in the service's words, or by their status", async () => {
  const problem = { title: "Busy", detail: "All places are taken.", request_id: "r1" };
  const busy = answering(JSON.stringify(problem), { status: 429, headers: { "Retry-After": "3" } });
  await assert.rejects(core.ask("", {}, "", busy), {
    message: "Busy: All places are taken. (429, request r1)", status: 429, retryAfter: "3",
  });
  for (const body of ["<h1>Bad Gateway</h1>", "{}", "null"]) {
    const proxy = answering(body, { status: 502 });
    await assert.rejects(core.ask("", {}, "", proxy), { message: "The service answered with status 502." });
  }
  const down = () => Promise.reject(new TypeError("Failed to fetch"));
  await assert.rejects(core.ask("", {}, "", down), { message: /cannot be reached/, passes: true });
  const ended = () => Promise.reject(new DOMException("", "AbortError"));
  await assert.rejects(core.ask("", {}, "", ended), { name: "AbortError" });
});

test("faces are told with what the answer has of them", () => {
  const turned = { ...face(40), pose: { pitch: 3.2, yaw: -12.4, roll: 40 } };
  assert.deepEqual(core.facts(turned), [
    "score 0.80, good", "detector 0.90", "100 × 100 px", "box turned 40°", "pitch 3°", "yaw -12°", "roll 40°",
  ]);
  const followed = { ...face(0, 0.45), box: { ...face().box, score: null } };
  assert.deepEqual(core.facts(followed), ["score 0.45, doubtful", "100 × 100 px"]);
  assert.equal(core.facts(face(0, 0.25))[0], "score 0.25, probably wrong");
  assert.equal(core.facts(face(0, null))[0], "score –");
});

test("summaries count", () => {
  assert.equal(core.summary(answerOf()), "No face found, in 76 ms.");
  assert.equal(core.summary(answerOf(face())), "1 face, in 76 ms.");
  assert.equal(core.summary({ ...answerOf(face(), face()), found_faces: 9 }), "2 faces of 9 found, in 76 ms.");
  assert.equal(core.summary({ ...answerOf(face()), found_faces: null }), "1 face, in 76 ms.");
});

test("CSV has a line for every point", () => {
  const answer = answerOf({ ...face(), landmarks: [at(1, 2), at(3.5, -4, null), at(0, 0)] });
  assert.deepEqual(core.csv(answer).split("\r\n"), [
    "face,point,group,x,y,score", "0,0,jaw,1,2,0.5", "0,1,jaw,3.5,-4,", "0,2,left_eye,0,0,0.5", "",
  ]);
});

const all = { points: true, numbers: true, boundaries: true, heatmap: true, boxes: true };
const boundaries = [{ name: "jaw_line", landmarks: [1, 0] }];

test("the drawing begins half a pixel before the first one's centre", () => {
  const svg = drawing(answerOf(face()), { boundaries, show: all, unit: 1 });
  assert.ok(svg.includes('viewBox="-0.5 -0.5 640 480"'));
  assert.ok(svg.includes('aria-label="6 points on 1 face"'));
  assert.ok(svg.includes("<title>2 left eye, score 0.50</title>"));
  assert.ok(svg.includes('points="250,350 150,350"'), "boundaries in their own order");
  assert.ok(!svg.includes("style="));
  assert.ok(!svg.includes("<image"));
});

test("the drawing holds what is switched on, and the picture if it is given", () => {
  const heatmap = { box: { x: 1, y: 2, width: 3, height: 4 }, png_base64: "AAAA" };
  const answer = answerOf({ ...face(40), heatmap }, face());
  const count = (svg, text) => svg.split(text).length - 1;
  for (const name of Object.keys(all)) {
    const only = { ...Object.fromEntries(Object.keys(all).map((key) => [key, false])), [name]: true };
    const svg = drawing(answer, { boundaries, show: only, unit: 1 });
    assert.deepEqual(
      ["point", "number", "boundary", "heat", "box"].map((name) => count(svg, `class="${name}"`)),
      ["points", "numbers", "boundaries", "heatmap", "boxes"].map((key, i) =>
        key === name ? [12, 12, 2, 1, 2][i] : 0,
      ),
    );
  }
  const whole = drawing(answer, { boundaries, show: all, unit: 1, picture: "data:x" });
  assert.ok(whole.includes('<image href="data:x" x="-0.5" y="-0.5" width="640" height="480">'));
  assert.ok(whole.includes('transform="rotate(40 200 300)"'));
});

test("no name of the service's becomes markup", () => {
  const answer = answerOf({ ...face(), landmarks: [at(1, 2)] });
  answer.model.groups = { '"<b>&': [0] };
  const svg = drawing(answer, { boundaries: [{ name: "<i>", landmarks: [0] }], show: all, unit: 1 });
  assert.ok(!svg.includes("<b>") && !svg.includes("<i>"));
});

test("every group up to nine has a colour and a shape of its own", () => {
  const nine = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`g${i}`, [i]]));
  const marks = Object.keys(nine).map((name) => legendMark(nine, name));
  for (const attribute of [/fill="([^"]+)"/, / d="([^"]+)"/]) {
    assert.equal(new Set(marks.map((mark) => attribute.exec(mark)[1])).size, 9);
  }
});
