"use strict";

const form = document.querySelector("form");
const says = document.querySelector("[role=status]");
const picture = document.querySelector("img");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  says.textContent = "…";
  picture.hidden = true;
  const photograph = form.photograph.files[0];
  const headers = { Accept: "image/png", "Content-Type": photograph.type };
  if (form.key.value) headers["X-API-Key"] = form.key.value;
  try {
    const answer = await fetch("/v1/align", { method: "POST", body: photograph, headers });
    if (answer.ok) {
      URL.revokeObjectURL(picture.src);
      picture.src = URL.createObjectURL(await answer.blob());
      picture.alt = "The photograph with its landmarks";
      picture.hidden = false;
      says.textContent = "";
    } else if (answer.headers.get("Content-Type")?.startsWith("application/problem+json")) {
      says.textContent = (await answer.json()).detail;
    } else {
      says.textContent = `The answer was ${answer.status}.`;
    }
  } catch {
    says.textContent = "The service was not reached.";
  }
});
