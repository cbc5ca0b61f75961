// Pictures, decoded before they are shown, so that nothing is timed that is not there yet.
import { hush, say } from "./notice.js";

const SLOW_MS = 1000;
let ahead = []; // held here so that the browser holds them, too

// Of some addresses, in their order; tries until all are there. Those that are needed later come after them, and nobody
// waits for them.
export async function load(urls, later) {
  const waiting = setTimeout(() => say("The pictures are being loaded …"), SLOW_MS);
  const pictures = await Promise.all(urls.map(one));
  clearTimeout(waiting);
  hush();
  ahead = later.map((url) => Object.assign(new Image(), { src: url }));
  return pictures;
}

async function one(url) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 15_000)) {
    const picture = new Image();
    picture.src = url;
    try {
      await picture.decode();
      return picture;
    } catch {
      const gone = await fetch(url).then(({ status }) => status === 404 || status === 410).catch(() => false);
      say(
        gone
          ? "A picture of this study is missing on the server. Your answers are kept; trying again …"
          : "A picture does not come. Trying again …",
      );
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

// Whole, at the largest size that its room in the page allows: the style sheet computes it from this.
export function proportion(element, width, height) {
  element.style.setProperty("--ratio", width / height);
}
