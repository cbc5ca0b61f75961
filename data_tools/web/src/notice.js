// One line below the page, for what a rater has to know at once.

const line = Object.assign(document.createElement("p"), { className: "notice", hidden: true });
line.setAttribute("role", "status");
document.body.append(line);

export function say(text) {
  line.textContent = text;
  line.hidden = false;
}

export function hush() {
  line.hidden = true;
}
