// An answer: one of two buttons, by a click, a tap or a key. What comes too soon after the page was painted is none: the
// second half of a double click, a key or a finger that was on its way.
import { hush, say } from "./notice.js";

export const SHORTEST_MS = 500; // two clicks as far apart as that are one double click to common systems

// Two frames: when the second begins, what was changed before the first is on its way to the display. Resolves to the
// second one's time.
const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

// Shows a page; resolves to the side chosen, the time it took since the page was painted, how many presses were too
// soon, and when it was painted.
export async function answered(display, page, buttons, keys) {
  const listening = new AbortController();
  const on = (target, type, act) => target.addEventListener(type, act, { signal: listening.signal });
  let early = 0;
  let pressed = 0; // when the pointer went down: a press that began too soon does not count when it is let go
  let open = Infinity; // when answers begin to count
  const wait = (since) => {
    open = since + SHORTEST_MS;
    buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
    setTimeout(() => {
      if (performance.now() >= open) buttons.forEach((button) => button.removeAttribute("aria-disabled"));
    }, open - performance.now() + 1);
  };

  display.replaceChildren(page);
  const answer = new Promise((resolve) => {
    const choose = (chosen, time) => {
      if (time < open) {
        early += 1;
        say("That was too soon to count. Please answer again.");
        return;
      }
      listening.abort();
      hush();
      resolve({ chosen, time, early });
    };
    buttons.forEach((button, side) => {
      on(button, "click", (event) => choose(side, (event.detail && pressed) || event.timeStamp));
    });
    on(page, "pointerdown", (event) => {
      pressed = event.timeStamp;
    });
    on(document, "keydown", (event) => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.ctrlKey || event.altKey || event.metaKey) return; // the browser's: back, save, bookmark
      if (event.repeat && (key in keys || key === "Enter" || key === " ")) event.preventDefault(); // held down
      else if (key in keys) choose(keys[key], event.timeStamp);
    });
    // A click that brings the window back is none on what it lands on.
    const back = () => open < Infinity && wait(performance.now());
    on(window, "focus", back);
    on(document, "visibilitychange", back);
  });
  buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  const shown = await painted();
  wait(shown);
  const { time, ...rest } = await answer;
  return { ...rest, rt: time - shown, shown };
}
