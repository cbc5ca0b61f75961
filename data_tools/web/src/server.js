// What goes to the server and back. An answer is kept in the browser until the server has it.
import { hush, say } from "./notice.js";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

function reason(text) {
  try {
    return String(JSON.parse(text).detail).slice(0, 300);
  } catch {
    return text.slice(0, 300);
  }
}

// Tries until there is an answer; what the server refuses is not tried again. Addresses are relative to the page's: it
// may be anywhere below the address of a web server in front.
async function call(path, options) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 15_000)) {
    try {
      const response = await fetch(path, options);
      if (response.ok) {
        hush();
        return response.status === 204 ? null : await response.json();
      }
      if (response.status === 429) say("Many people begin at this moment. You are next; trying again …");
      else if (response.status < 500) throw new Refused(response.status, reason(await response.text()));
      else say("The server has a problem. Your answer is kept; trying again …");
    } catch (error) {
      if (error instanceof Refused) throw error;
      say("No connection. Your answer is kept; trying again …");
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const about = () => call("api/study");

// Somebody who takes part: known by the id in the address or to this browser, or new.
export class Rater {
  constructor(study, token) {
    this.name = `rater ${study}`;
    this.token = token;
  }

  // Who was here before, and their state; nothing where there is nobody. An id in the address goes before what the
  // browser knows: it may be another person's.
  static async known(study, participant) {
    const name = `rater ${study}`;
    const found = participant ? await post("api/participants", { participant }) : { rater: localStorage.getItem(name) };
    if (!found.rater) return null;
    const rater = new Rater(study, found.rater);
    try {
      return [rater, (await rater.send()) ?? (await call(rater.path))];
    } catch (error) {
      if (error.status !== 404) throw error;
      localStorage.removeItem(rater.name);
      rater.unsent().forEach((key) => localStorage.removeItem(key));
      return null;
    }
  }

  // Who agrees, once: another tab may have been quicker.
  static async begin(study, participant) {
    const known = await Rater.known(study, participant);
    if (known) return known;
    const { rater: token } = await post("api/raters", { agreed: true, build: BUILD, participant });
    const rater = new Rater(study, token);
    localStorage.setItem(rater.name, token);
    return [rater, await call(rater.path)];
  }

  get path() {
    return `api/raters/${encodeURIComponent(this.token)}`;
  }

  // Counts that questions' pictures are shown: once more where the page was left or hidden in the middle.
  show(items) {
    items.forEach(({ item }) => localStorage.setItem(this.shown(item), this.showings(item) + 1));
  }

  showings(item) {
    return Number(localStorage.getItem(this.shown(item)));
  }

  shown(item) {
    return `shown ${this.token} ${item}`;
  }

  // Names of the answers that this browser keeps: one a screen, so that two tabs do not overwrite each other's.
  unsent() {
    return Object.keys(localStorage).filter((key) => key.startsWith(`unsent ${this.token} `));
  }

  async answer(screen, answers, presented, early) {
    const key = `unsent ${this.token} ${screen}`;
    const showings = Math.max(1, ...answers.map(({ item }) => this.showings(item)));
    const sent = { screen, answers, presented, showings, early, build: BUILD };
    if (!localStorage.getItem(key)) localStorage.setItem(key, JSON.stringify(sent)); // the first answer stands
    return this.send();
  }

  // What this browser keeps; the new state, or nothing where there is nothing to send.
  async send() {
    let state = null;
    for (const key of this.unsent()) {
      const kept = localStorage.getItem(key);
      if (!kept) continue; // another tab was quicker
      try {
        state = await post(`${this.path}/answers`, JSON.parse(kept));
      } catch (error) {
        if (error.status !== 422) throw error;
        console.error("not taken:", error.message); // it would not be taken the next time either
        state = await call(this.path);
      }
      localStorage.removeItem(key);
      JSON.parse(kept).answers.forEach(({ item }) => localStorage.removeItem(this.shown(item)));
    }
    return state;
  }

  leave() {
    return post(`${this.path}/leave`, {});
  }
}
