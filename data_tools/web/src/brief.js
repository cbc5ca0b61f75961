// A jsPsych plugin: the pictures of two pairs, each for half a second, masks between; then "same or different?" of each.
//
// The order is first, first, second, second of the pairs in turn. Changes are made in animation frames, at the frame
// nearest to when they are due, and each one's time is kept. A page that was hidden meanwhile begins again.
import { ParameterType } from "jspsych";
import { loaded } from "./pictures.js";

export const SLOT_MS = 500; // a picture, and a mask
const GRAIN = 16; // blocks along a mask's side
const KEYS = { s: 0, d: 1 };
const ORDINALS = [["first", "third"], ["second", "fourth"]];

export class Brief {
  static info = {
    name: "brief",
    version: "1.0.0",
    parameters: { pairs: { type: ParameterType.COMPLEX, default: undefined } },
    data: { answers: { type: ParameterType.COMPLEX }, presented: { type: ParameterType.COMPLEX } },
  };

  async trial(display, { pairs }) {
    const pictures = await Promise.all(pairs.map((pair) => Promise.all(pair.map(loaded))));
    const side = Math.max(...pictures.flat().map((picture) => picture.naturalWidth));
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const masks = [0, 1, 2, 3].map(() => mask(pictures.flat(), side));
    const draw = (what) => {
      context.fillStyle = "#808080";
      context.fillRect(0, 0, side, side);
      if (what) context.drawImage(what, 0, 0, side, side);
    };
    // A pair alone has masks where the other's pictures would be, so that its timing is the same.
    const order = [0, 1].flatMap((which) => [0, 1].map((pair) => pictures[pair]?.[which]));
    const slots = order.flatMap((picture, i) => [picture ?? masks[i], masks[i]]);
    display.replaceChildren(canvas);

    let presented;
    do {
      draw(null);
      presented = await present([null, ...slots, null], draw);
    } while (!presented);
    const start = presented[0];
    presented = presented.map((time) => time - start);

    const answers = [];
    for (let pair = 0; pair < pairs.length; pair++) answers.push(await ask(display, ORDINALS[pair]));
    display.replaceChildren();
    return { answers, presented };
  }
}

// Each thing for SLOT_MS; the times at which they came, or nothing where the page was hidden.
function present(things, draw) {
  return new Promise((resolve) => {
    const times = [];
    let before;
    let frame = 1000 / 60;
    const step = (now) => {
      if (document.hidden) return resolve(null);
      if (before) frame = Math.min(frame, Math.max(now - before, 1));
      before = now;
      if (!times.length || now - times[times.length - 1] >= SLOT_MS - frame / 2) {
        draw(things[times.length]);
        times.push(now);
      }
      if (times.length === things.length) resolve(times);
      else requestAnimationFrame(step);
    };
    document.addEventListener("visibilitychange", () => resolve(null), { once: true });
    requestAnimationFrame(step);
  });
}

// Blocks taken from all pictures: of the same colours, and of nothing.
function mask(pictures, side) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d");
  const block = side / GRAIN;
  for (let y = 0; y < GRAIN; y++) {
    for (let x = 0; x < GRAIN; x++) {
      const picture = pictures[Math.floor(Math.random() * pictures.length)];
      const size = picture.naturalWidth / GRAIN;
      const from = [0, 1].map(() => Math.floor(Math.random() * GRAIN) * size);
      context.drawImage(picture, ...from, size, size, x * block, y * block, block, block);
    }
  }
  return canvas;
}

async function ask(display, [one, other]) {
  const page = document.createElement("div");
  page.className = "text";
  const question = document.createElement("p");
  question.textContent = `The ${one} and the ${other} picture: did they look the same?`;
  const buttons = ["Same (S)", "Different (D)"].map((text) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    return button;
  });
  page.append(question, ...buttons);
  const shown = await new Promise(requestAnimationFrame); // shown and answerable from the same frame on
  display.replaceChildren(page);
  return new Promise((resolve) => {
    const press = (event) => {
      const key = event.key.toLowerCase();
      if (key in KEYS && !event.repeat) choose(KEYS[key]);
    };
    const choose = (chosen) => {
      document.removeEventListener("keydown", press);
      resolve({ chosen, rt: performance.now() - shown });
    };
    document.addEventListener("keydown", press);
    buttons.forEach((button, side) => button.addEventListener("click", () => choose(side), { once: true }));
  });
}
