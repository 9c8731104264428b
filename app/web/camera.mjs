// The camera: a frame when the last answer is back, never a queue of them.

import { Smoother, Tracker, waitMs } from "./core.mjs";

const LONGEST_SIDE = 640;

const sleep = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/** Until the tab is looked at again: who is not there is not photographed. */
const visible = () =>
  new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", resolve, { once: true });
  });

export class Camera {
  #video = Object.assign(document.createElement("video"), { playsInline: true, muted: true });
  #ending = null;

  /** `answered(blob, answer, text, boxes)` gets every frame that was answered. */
  constructor({ align, answered, failed }) {
    Object.assign(this, { align, answered, failed });
  }

  get running() {
    return this.#ending !== null;
  }

  /** Ask for the camera and align its frames until `stop`. Rejects if there is none to be had. */
  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give pages a camera only over HTTPS, or on localhost.");
    }
    const ending = (this.#ending = new AbortController());
    try {
      const wanted = { video: { facingMode: "user", width: { ideal: 1280 } } };
      const stream = await navigator.mediaDevices.getUserMedia(wanted);
      this.#video.srcObject = stream;
      // Asked to stop while the person was still being asked.
      if (ending.signal.aborted) return this.#release();
      stream.getVideoTracks()[0].addEventListener("ended", () => this.stop());
      await this.#video.play();
    } catch (error) {
      this.stop();
      throw new Error(`The camera cannot be used: ${error.message}`);
    }
    this.#run(ending.signal);
  }

  stop() {
    this.#ending?.abort();
    this.#ending = null;
    this.#release();
  }

  /** What the camera sees now, as a JPEG; by default no larger than is quick to send. */
  frame(longest = LONGEST_SIDE) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.min(1, longest / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  }

  #release() {
    for (const track of this.#video.srcObject?.getTracks() ?? []) track.stop();
    this.#video.srcObject = null;
  }

  async #run(signal) {
    const tracker = new Tracker();
    const smoother = new Smoother();
    let failures = 0;
    while (!signal.aborted) {
      await visible();
      const blob = await this.frame();
      if (signal.aborted) return;
      const { boxes } = tracker;
      const grabbed = performance.now();
      try {
        const { answer, text, path } = await this.align(blob, boxes, signal);
        tracker.saw(answer);
        answer.faces = smoother.next(answer.faces, grabbed);
        await this.answered({ blob, answer, text, path });
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (!error.passes) {
          this.stop();
          this.failed(error, null);
          return;
        }
        tracker.forget();
        const ms = waitMs(error.retryAfter, failures++, Date.now());
        this.failed(error, ms);
        await sleep(ms, signal);
      }
    }
  }
}
