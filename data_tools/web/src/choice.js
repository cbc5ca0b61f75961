// A jsPsych plugin: a reference above, two pictures below, chosen by a click or an arrow key.
import { ParameterType } from "jspsych";
import { answered } from "./answer.js";
import { load, proportion } from "./pictures.js";

const KEYS = { ArrowLeft: 0, ArrowRight: 1 };

export class Choice {
  static info = {
    name: "choice",
    version: "1.0.0",
    parameters: {
      pictures: { type: ParameterType.COMPLEX, default: undefined },
      later: { type: ParameterType.COMPLEX, default: [] },
    },
    // answers: chosen, 0 (left) or 1 (right) on the screen; rt, milliseconds since the pictures were painted; early,
    // presses that were too soon
    data: { answers: { type: ParameterType.COMPLEX }, presented: { type: ParameterType.COMPLEX } },
  };

  async trial(display, { pictures, later }) {
    const begun = performance.now();
    const [reference, left, right] = await load(pictures, later);
    const page = document.createElement("div");
    page.className = "choice";
    reference.className = "reference";
    reference.alt = "the picture to compare with";
    for (const picture of [reference, left, right]) proportion(picture, picture.naturalWidth, picture.naturalHeight);
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
    const { shown, ...answer } = await answered(display, page, buttons, KEYS);
    display.replaceChildren();
    return { answers: [answer], presented: [Math.max(0, shown - begun)] };
  }
}
