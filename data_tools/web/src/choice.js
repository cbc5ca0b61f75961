// A jsPsych plugin: a reference above, two pictures below, chosen by a click or an arrow key.
import { ParameterType } from "jspsych";
import { loaded } from "./pictures.js";

const KEYS = { ArrowLeft: 0, ArrowRight: 1 };

export class Choice {
  static info = {
    name: "choice",
    version: "1.0.0",
    parameters: { pictures: { type: ParameterType.COMPLEX, default: undefined } },
    // answers: chosen, 0 (left) or 1 (right) on the screen, and rt, milliseconds since the pictures were shown
    data: { answers: { type: ParameterType.COMPLEX }, presented: { type: ParameterType.COMPLEX } },
  };

  async trial(display, { pictures }) {
    const begun = performance.now();
    const [reference, left, right] = await Promise.all(pictures.map(loaded));
    const page = document.createElement("div");
    page.className = "choice";
    reference.className = "reference";
    reference.alt = "the picture to compare with";
    const buttons = [left, right].map((picture, side) => {
      const button = document.createElement("button");
      button.type = "button";
      picture.alt = side ? "right" : "left";
      const key = document.createElement("kbd");
      key.textContent = side ? "→" : "←";
      button.append(picture, key);
      return button;
    });
    page.append(reference, ...buttons);
    // Shown and answerable from the same frame on: a key between the two would be lost. Where the pictures are there
    // already, that frame may have begun before this screen did.
    const shown = await new Promise(requestAnimationFrame);
    display.replaceChildren(page);

    return new Promise((resolve) => {
      const press = (event) => {
        // A key that is held down since the last screen is no answer to this one.
        if (event.key in KEYS && !event.repeat) choose(KEYS[event.key]);
      };
      const choose = (chosen) => {
        const rt = performance.now() - shown;
        document.removeEventListener("keydown", press);
        display.replaceChildren();
        resolve({ answers: [{ chosen, rt }], presented: [Math.max(0, shown - begun)] });
      };
      document.addEventListener("keydown", press);
      buttons.forEach((button, side) => button.addEventListener("click", () => choose(side), { once: true }));
    });
  }
}
