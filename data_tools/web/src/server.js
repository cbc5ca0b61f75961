// What goes to the server and back. An answer is kept in the browser until the server has it.

const notice = Object.assign(document.createElement("p"), { className: "notice", hidden: true });
document.body.append(notice);

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Tries until there is an answer; what the server refuses is not tried again.
async function call(path, options) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 15_000)) {
    try {
      const response = await fetch(path, options);
      if (response.ok) {
        notice.hidden = true;
        return response.status === 204 ? null : await response.json();
      }
      if (response.status < 500) throw new Refused(response.status, (await response.text()).slice(0, 300));
      notice.textContent = "The server has a problem. Your answer is kept; trying again …";
    } catch (error) {
      if (error instanceof Refused) throw error;
      notice.textContent = "No connection. Your answer is kept; trying again …";
    }
    notice.hidden = false;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const about = () => call("/api/study");

// Somebody who takes part: known to this browser, or new.
export class Rater {
  constructor(study, token) {
    this.name = `rater ${study}`;
    this.token = token;
  }

  // Who was here before, and their state; nothing where there is nobody.
  static async known(study) {
    const rater = new Rater(study, localStorage.getItem(`rater ${study}`));
    if (!rater.token) return null;
    try {
      return [rater, (await rater.send()) ?? (await call(rater.path))];
    } catch (error) {
      if (error.status !== 404) throw error;
      localStorage.removeItem(rater.name);
      localStorage.removeItem(rater.unsent);
      return null;
    }
  }

  static async begin(study) {
    const { rater: token } = await post("/api/raters", { agreed: true, build: BUILD });
    const rater = new Rater(study, token);
    localStorage.setItem(rater.name, token);
    return [rater, await call(rater.path)];
  }

  get path() {
    return `/api/raters/${encodeURIComponent(this.token)}`;
  }

  get unsent() {
    return `unsent ${this.token}`;
  }

  async answer(screen, answers, presented) {
    localStorage.setItem(this.unsent, JSON.stringify({ screen, answers, presented, build: BUILD }));
    return this.send();
  }

  // What this browser keeps; the new state, or nothing where there is nothing to send.
  async send() {
    const kept = localStorage.getItem(this.unsent);
    if (!kept) return null;
    let state;
    try {
      state = await post(`${this.path}/answers`, JSON.parse(kept));
    } catch (error) {
      if (error.status !== 422) throw error;
      console.error("not taken:", error.message); // it would not be taken the next time either
      state = await call(this.path);
    }
    localStorage.removeItem(this.unsent);
    return state;
  }

  leave() {
    return post(`${this.path}/leave`, {});
  }
}
