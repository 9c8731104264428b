// The page: what is chosen is sent, what is answered is shown.

import { Camera } from "./camera.mjs";
import { alignPath, ask, counted, csv, curl, sentType, sleep, summary, waitMs } from "./core.mjs";
import { $, clearAnswer, show, showAnswer, showPicture, svgFile } from "./view.mjs";

const KEY = "lwbafa-key";
const TRIES = 5;

let models = null;
/** Ends the request at work. */
let work = new AbortController();
/** The last answer, and its text. */
let last = null;
/** When the camera's last frame was answered. */
let answeredAt = 0;

const key = () => $("key").value.trim();

/** Tell people; the same text is not told twice, or the camera would never be silent. */
function tell(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function fail(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
  tell("");
  if (error.status === 401) {
    $("access").open = true;
    $("key").focus();
  }
}

const forgive = () => ($("problem").hidden = true);

/** The models' boundaries; asked for once, with the key, which the page may not have as yet. */
async function boundariesOf(name, signal) {
  if (!models) {
    models = JSON.parse(await ask("v1/models", { signal }, key())).models;
    $("model").replaceChildren(...models.map((model) => new Option(model.name)));
    $("model-choice").hidden = models.length < 2;
  }
  return models.find((model) => model.name === name)?.boundaries ?? [];
}

async function align(blob, options, signal) {
  const { selectedIndex: at, value } = $("model");
  const path = alignPath({ ...options, model: at > 0 ? value : "" });
  const headers = { "Content-Type": sentType(blob.type), Accept: "application/json" };
  const text = await ask(path, { method: "POST", body: blob, headers, signal }, key());
  return { answer: JSON.parse(text), text, path };
}

/** As `align`, again when the service says it may be. */
async function alignInTime(blob, signal) {
  for (let failures = 0; ; ) {
    try {
      return await align(blob, { heatmap: true }, signal);
    } catch (error) {
      if (!error.passes || !error.retryAfter || ++failures >= TRIES) throw error;
      const ms = waitMs(error.retryAfter, failures, Date.now());
      tell(`${error.message} Trying again in ${Math.ceil(ms / 1000)} s.`);
      await sleep(ms, signal);
      signal.throwIfAborted();
    }
  }
}

/** Align a picture and show what was answered. */
async function take(blob, name) {
  work.abort();
  camera.stop();
  showCamera();
  const { signal } = (work = new AbortController());
  last = null;
  clearAnswer();
  forgive();
  tell(`Looking for faces in ${name} …`);
  $("rate").textContent = "";
  // Seen while it is answered. Of what a browser cannot show, the service says what it is.
  const picture = showPicture(blob, `The picture ${name}`).catch(() => ($("result").hidden = true));
  try {
    const asked = await alignInTime(blob, signal);
    const boundaries = await boundariesOf(asked.answer.model.name, signal);
    await picture;
    if (signal.aborted) return;
    keep(blob, name, asked);
    showAnswer(asked.answer, boundaries);
    const turned = $("photo").naturalWidth !== asked.answer.image.width;
    const note = " This browser turns it otherwise than the service: points are beside it.";
    tell(summary(asked.answer) + (turned ? note : ""));
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

function keep(blob, name, { answer, text, path }) {
  last = { answer, text };
  const base = new URL(".", location.href).href;
  $("curl").textContent = curl({ path, base, type: blob.type, name, key: key() });
}

// Where pictures come from

$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) take(target.files[0], target.files[0].name);
  target.value = ""; // the same one may be chosen again
});

$("sample").addEventListener("click", async () => {
  try {
    const answer = await fetch("web/astronaut.jpg");
    take(await answer.blob(), "astronaut.jpg");
  } catch {
    fail(new Error("The sample cannot be fetched. Is the network up?"));
  }
});

function takeFrom({ files }) {
  if (files[0]) take(files[0], files[0].name || "pasted.png");
}

document.addEventListener("paste", (event) => takeFrom(event.clipboardData));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault(); // the browser would open it in the page's place
  document.body.classList.remove("over");
  takeFrom(event.dataTransfer);
});

// The camera

const camera = new Camera({
  align: (blob, boxes, signal) => align(blob, { boxes, heatmap: show().heatmap }, signal),
  async answered({ blob, answer, text, path }) {
    const boundaries = await boundariesOf(answer.model.name, work.signal);
    await showPicture(blob, "What the camera saw last");
    if (!camera.running) return;
    forgive();
    keep(blob, "frame.jpg", { answer, text, path });
    showAnswer(answer, boundaries);
    const now = performance.now();
    $("rate").textContent = `${(1000 / (now - answeredAt)).toFixed(1)} frames a second`;
    answeredAt = now;
    tell(`The camera is on: ${counted(answer.faces)}.`);
  },
  failed(error, ms) {
    fail(error);
    tell(ms === null ? "The camera is off." : `Trying again in ${Math.ceil(ms / 1000)} s.`);
    showCamera();
  },
});

function showCamera() {
  $("camera").textContent = camera.running ? "Stop the camera" : "Start the camera";
  $("shoot").hidden = !camera.sees;
}

$("camera").addEventListener("click", async () => {
  work.abort();
  work = new AbortController();
  if (camera.running) {
    camera.stop();
    tell("The camera is off.");
  } else {
    forgive();
    tell("Waiting for the camera …");
    const started = camera.start();
    showCamera();
    await started.catch(fail);
  }
  showCamera();
});

$("shoot").addEventListener("click", async () => {
  const [blob] = await camera.frame(Infinity);
  take(blob, "photograph.jpg");
  $("camera").focus(); // the button pressed is gone
});

// What may be taken along

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    tell(`${what} copied.`);
  } catch {
    tell("This browser lets pages copy only over HTTPS, or on localhost.");
  }
}

function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const taken = {
  "copy-json": () => copy(last.text, "JSON"),
  "copy-curl": () => copy($("curl").textContent, "Command"),
  "save-csv": () => save(csv(last.answer), "landmarks.csv", "text/csv"),
  "save-svg": () => save(svgFile(), "landmarks.svg", "image/svg+xml"),
};
for (const [id, act] of Object.entries(taken)) {
  $(id).addEventListener("click", () => (last ? act() : tell("There is no answer yet.")));
}

// The key

$("key").value = sessionStorage.getItem(KEY) ?? "";
$("key").addEventListener("input", () => sessionStorage.setItem(KEY, key()));
// Now, so that there is a choice of several models; what else fails is told with a picture.
boundariesOf("", undefined).catch((error) => {
  if (error.status === 401) $("access").open = true;
});
