// The experiment: consent, instructions, one screen after the other, a code.
import CallFunction from "@jspsych/plugin-call-function";
import HtmlButtonResponse from "@jspsych/plugin-html-button-response";
import Preload from "@jspsych/plugin-preload";
import { initJsPsych } from "jspsych";

import { Brief } from "./brief.js";
import { Choice } from "./choice.js";
import { Rater, about } from "./server.js";

const SIDES = { "2afc": ["left", "right"], jnd: ["same", "different"] };

const text = (words, more = "") => {
  const page = document.createElement("div");
  page.className = "text";
  page.textContent = words;
  return page.outerHTML + more;
};
const page = (words, button, more) => ({ type: HtmlButtonResponse, stimulus: text(words, more), choices: [button] });

async function main() {
  const { id, task, texts } = await about();
  document.title = texts.title;
  let [rater, state] = (await Rater.known(id)) ?? [];
  let feedback = null;
  const header = document.querySelector("header");
  const screen = () => state.screens[0];
  const urls = () => state.screens.flatMap(({ items }) => items.flatMap(({ pictures }) => pictures));

  const begin = {
    type: CallFunction,
    async: true,
    func: async (done) => {
      [rater, state] = await Rater.begin(id);
      done();
    },
  };
  const welcome = rater
    ? [page("Welcome back. You can go on where you were.", "Go on")]
    : [page(texts.consent, "I agree"), begin, page(texts.instructions, "Begin")];

  const preload = {
    type: Preload,
    images: urls,
    show_progress_bar: false,
    max_load_time: 60_000,
    error_message: "<p>A picture could not be loaded. Reload this page to try again; your answers are kept.</p>",
    on_start: () => {
      header.hidden = false;
      Object.assign(header.querySelector("progress"), { value: state.done, max: state.total });
    },
  };
  const ask = {
    "2afc": { type: Choice, pictures: () => screen().items[0].pictures },
    jnd: { type: Brief, pairs: () => screen().items.map(({ pictures }) => pictures) },
  }[task];
  const send = {
    type: CallFunction,
    async: true,
    func: async (done) => {
      const { answers, presented } = jsPsych.data.getLastTrialData().values()[0];
      const given = screen().items.map(({ item, swapped }, i) => {
        // The order of two pictures does not change whether they are the same.
        const chosen = task === "2afc" && swapped ? 1 - answers[i].chosen : answers[i].chosen;
        return { item, answer: SIDES[task][chosen], response_ms: answers[i].rt };
      });
      state = await rater.answer(screen().screen, given, presented);
      const right = Object.values(state.right ?? {});
      feedback = right.length ? right.every(Boolean) : null;
      done();
    },
  };
  const tell = {
    timeline: [
      {
        type: HtmlButtonResponse,
        stimulus: () => text(feedback ? "Practice: that was right." : "Practice: that was not right. Look again at the next."),
        choices: ["Go on"],
      },
    ],
    conditional_function: () => feedback !== null,
  };
  const left = () => state.screens.length > 0;
  const screens = { timeline: [preload, ask, send, tell], loop_function: left };
  const bye = {
    type: HtmlButtonResponse,
    stimulus: () => text(texts.thanks, `<p class="code">${state.code}</p>`),
    choices: [],
    on_start: () => {
      header.hidden = true;
    },
  };

  const jsPsych = initJsPsych({ display_element: "experiment" });
  document.querySelector("#pause").addEventListener("click", async () => {
    jsPsych.pauseExperiment();
    await rater.leave();
    header.hidden = true;
    document.querySelector("main").innerHTML = text("Your answers are kept. Come back to this page in this browser.");
    const button = Object.assign(document.createElement("button"), { textContent: "Go on" });
    button.addEventListener("click", () => location.reload());
    document.querySelector(".text").append(document.createElement("br"), button);
  });
  await jsPsych.run([...welcome, { timeline: [screens], conditional_function: left }, bye]);
}

main().catch((error) => {
  document.querySelector("main").innerHTML = text(`This does not work: ${error.message}. Reload the page to try again.`);
});
