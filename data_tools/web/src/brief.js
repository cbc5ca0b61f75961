// A jsPsych plugin: the pictures of two pairs, each for half a second, masks between; then "same or different?" of each.
//
// The order is first, first, second, second of the pairs in turn. Changes are made in animation frames, at the frame
// nearest to when they are due, and each one's time is kept. A page that was hidden meanwhile begins again.
import { ParameterType } from "jspsych";
import { answered } from "./answer.js";
import { frameSize, framed, grey, masked } from "./frames.js";
import { load, proportion } from "./pictures.js";

export const SLOT_MS = 500; // a picture, and a mask
const KEYS = { s: 0, d: 1 };
const ORDINALS = [["first", "third"], ["second", "fourth"]];

export class Brief {
  static info = {
    name: "brief",
    version: "1.0.0",
    parameters: {
      pairs: { type: ParameterType.COMPLEX, default: undefined },
      later: { type: ParameterType.COMPLEX, default: [] },
      begin: { type: ParameterType.FUNCTION, default: () => {} }, // called whenever the first picture is about to come
    },
    data: { answers: { type: ParameterType.COMPLEX }, presented: { type: ParameterType.COMPLEX } },
  };

  async trial(display, { pairs, later, begin }) {
    const all = await load(pairs.flat(), later);
    const pictures = pairs.map((_, pair) => all.slice(2 * pair, 2 * pair + 2));
    const size = frameSize(all);
    // A pair alone has masks where the other's pictures would be, so that its timing is the same.
    const order = [0, 1].flatMap((which) => [0, 1].map((pair) => pictures[pair]?.[which]));
    const mask = (i) => masked(order[i] ?? order[i - 1], all, size);
    const slots = order.flatMap((picture, i) => [picture ? framed(picture, size) : mask(i), mask(i)]);
    const things = [grey(size), ...slots, grey(size)];
    const canvas = grey(size);
    proportion(canvas, size.width, size.height);
    const draw = (i) => {
      if (i === 1) begin();
      canvas.getContext("2d").drawImage(things[i], 0, 0);
    };
    display.replaceChildren(canvas);

    let presented;
    do {
      draw(0);
      presented = await present(things.length, draw);
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
function present(count, draw) {
  return new Promise((resolve) => {
    const times = [];
    let before;
    let frame = 1000 / 60;
    let next;
    const end = (found) => {
      document.removeEventListener("visibilitychange", look);
      cancelAnimationFrame(next);
      resolve(found);
    };
    const look = () => document.hidden && end(null);
    const step = (now) => {
      if (before) frame = Math.min(frame, Math.max(now - before, 1));
      before = now;
      if (!times.length || now - times[times.length - 1] >= SLOT_MS - frame / 2) {
        draw(times.length);
        times.push(now);
      }
      if (times.length === count) end(times);
      else next = requestAnimationFrame(step);
    };
    document.addEventListener("visibilitychange", look);
    next = requestAnimationFrame(step);
  });
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
  return answered(display, page, buttons, KEYS);
}
