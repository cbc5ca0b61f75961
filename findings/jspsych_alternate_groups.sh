#!/bin/sh
# jsPsych 8.3.0: shuffleAlternateGroups() leaves trials out where the groups differ in length.
# Seen: groups of 8 and 3 trials: 6 of the 11 come back, without a word.
# Expected: all 11 shuffled, alternating as long as there are two groups; or an error. The function is called
# a shuffle.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund jspsych@8.3.0
cat > run.cjs <<'END'
globalThis.window = globalThis;  // the package looks for a browser when it is loaded
globalThis.location = { protocol: "https:" };
const { JsPsych } = require("jspsych");
const groups = [[1, 2, 3, 4, 5, 6, 7, 8], ["a", "b", "c"]];
const order = new JsPsych().randomization.shuffleAlternateGroups(groups);
console.log(order.length, "of 11 trials:", order.join(" "));
process.exit(order.length === 6 ? 0 : 1);
END
node run.cjs
