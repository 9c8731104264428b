// The camera: a frame when the last answer is back, never a queue of them.

import { Smoother, Tracker, sleep, waitMs } from "./core.mjs";

const LONGEST_SIDE = 640;

export class Camera {
  #video = Object.assign(document.createElement("video"), { playsInline: true, muted: true });
  #ending = null;

  /** `align` asks; `answered` gets every frame with its answer, `failed` errors and the wait. */
  constructor(told) {
    Object.assign(this, told);
  }

  get running() {
    return this.#ending !== null;
  }

  /** Whether there is a frame to be had. */
  get sees() {
    return this.#video.videoWidth > 0;
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
      stream.getVideoTracks()[0].onended = () => this.#fail(new Error("The camera was taken away."));
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

  /** A JPEG of what the camera sees, by default quick to send, and its width. */
  async frame(longest = LONGEST_SIDE) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.min(1, longest / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
    return [blob, canvas.width];
  }

  #fail(error) {
    this.stop();
    this.failed(error, null);
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
      if (document.hidden) {
        await sleep(200, signal); // who looks elsewhere is not photographed
        continue;
      }
      const [blob, width] = await this.frame();
      const boxes = tracker.boxesFor(width);
      const grabbed = performance.now();
      try {
        const { answer, text, path } = await this.align(blob, boxes, signal);
        tracker.saw(answer);
        answer.faces = smoother.next(answer.faces, grabbed);
        await this.answered({ blob, answer, text, path });
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (!error.passes) return this.#fail(error);
        tracker.forget();
        const ms = waitMs(error.retryAfter, failures++, Date.now());
        this.failed(error, ms);
        await sleep(ms, signal);
      }
    }
  }
}
