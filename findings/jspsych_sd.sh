#!/bin/sh
# jsPsych 8.3.0: sd() and variance() of a column count a missing response (null) as 0 and as a trial, mean()
# leaves it out.
# Seen: response times 500, 520, 540 and one null: mean 520, standard deviation 300.7.
# Expected: 20, the standard deviation of what the mean is of. Trials that time out have rt null, so such
# columns are usual.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund jspsych@8.3.0
cat > run.cjs <<'END'
globalThis.window = globalThis;  // the package looks for a browser when it is loaded
const { DataCollection } = require("jspsych");
const times = [500, 520, 540, null].map((rt) => ({ rt }));
const column = new DataCollection(times).select("rt");
console.log("mean", column.mean(), "sd", column.sd(), "of", column.count());
process.exit(column.mean() === 520 && Math.abs(column.sd() - 300.7) < 0.1 ? 0 : 1);
END
node run.cjs
