// The experiment: consent, instructions, one screen after the other, a code.
import CallFunction from "@jspsych/plugin-call-function";
import HtmlButtonResponse from "@jspsych/plugin-html-button-response";
import { initJsPsych } from "jspsych";

import { SHORTEST_MS } from "./answer.js";
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
const page = (words, button, more) => ({
  type: HtmlButtonResponse,
  stimulus: text(words, more),
  choices: [button],
  enable_button_after: SHORTEST_MS, // a double click on the page before does not skip this one
});
// The id of whoever a recruiting service sent, under the first name in the address that has one.
const participantOf = (names) => {
  const given = new URLSearchParams(location.search);
  return names.map((name) => given.get(name)).find(Boolean) ?? null;
};
const fail = (error) => {
  document.querySelector("main").innerHTML = text(`This does not work: ${error.message}. Reload the page to try again.`);
};

async function main() {
  const { id, task, texts, participant: names } = await about();
  document.title = texts.title;
  const participant = participantOf(names);
  let [rater, state] = (await Rater.known(id, participant)) ?? [];
  let feedback = null;
  const header = document.querySelector("header");
  const screen = () => state.screens[0];
  const later = () => state.screens.slice(1).flatMap(({ items }) => items.flatMap(({ pictures }) => pictures));

  const begin = {
    type: CallFunction,
    async: true,
    func: async (done) => {
      [rater, state] = await Rater.begin(id, participant);
      done();
    },
  };
  const welcome = rater
    ? [page("Welcome back. You can go on where you were.", "Go on")]
    : [page(texts.consent, "I agree"), begin, page(texts.instructions, "Begin")];

  const ask = {
    "2afc": { type: Choice, pictures: () => screen().items[0].pictures, later },
    jnd: {
      type: Brief,
      pairs: () => screen().items.map(({ pictures }) => pictures),
      later,
      begin: () => rater.show(screen().items),
    },
  }[task];
  ask.on_start = () => {
    header.hidden = false;
    Object.assign(header.querySelector("progress"), { value: state.done, max: state.total });
  };
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
      const early = answers.reduce((sum, one) => sum + one.early, 0);
      state = await rater.answer(screen().screen, given, presented, early);
      const right = Object.values(state.right ?? {});
      feedback = right.length ? right.every(Boolean) : null;
      done();
    },
  };
  const tell = {
    timeline: [
      {
        ...page("", "Go on"),
        stimulus: () => text(feedback ? "Practice: that was right." : "Practice: that was not right. Look again at the next."),
      },
    ],
    conditional_function: () => feedback !== null,
  };
  const left = () => state.screens.length > 0;
  const screens = { timeline: [ask, send, tell], loop_function: left };
  const bye = {
    type: HtmlButtonResponse,
    stimulus: () =>
      state.code
        ? text(texts.thanks, `<p class="code">${state.code}</p>`)
        : text("There is nothing for you to look at right now. Come back later, and reload this page."),
    choices: [],
    on_start: () => {
      header.hidden = true;
    },
  };

  const jsPsych = initJsPsych({ display_element: "experiment" });
  document.querySelector("#pause").addEventListener("click", async () => {
    jsPsych.pauseExperiment();
    header.hidden = true;
    document.querySelector("main").innerHTML = text(
      participant ? "Your answers are kept. Come back to this page by the same link." : "Your answers are kept. Come back to this page in this browser.",
    );
    await rater.leave();
    const button = Object.assign(document.createElement("button"), { textContent: "Go on" });
    button.addEventListener("click", () => location.reload());
    document.querySelector(".text").append(document.createElement("br"), button);
  });
  await jsPsych.run([...welcome, { timeline: [screens], conditional_function: left }, bye]);
}

// What fails within a screen fails for all to see, too.
window.addEventListener("unhandledrejection", ({ reason }) => fail(reason));
main().catch(fail);
