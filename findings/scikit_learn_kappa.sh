#!/bin/sh
# scikit-learn 1.9.1: weights of cohen_kappa_score count places in the sorted list of the answers that occur,
# not the answers.
# Seen: ratings of 1 to 5 of which nobody gave a 3: quadratic kappa 0.76, and 0.88 where the missing 3 is
# named; the same three grades as numbers 0.61, as the words low, medium, high -0.18.
# Expected: quadratic weights by the difference of the ratings, 0.88: 2 and 4 are two apart.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet scikit-learn==1.9.1
v/bin/python - <<'END'
from sklearn.metrics import cohen_kappa_score

a, b = [1, 2, 5, 5, 1, 2, 4, 4, 1, 5], [1, 1, 5, 4, 2, 2, 5, 4, 2, 4]
given = cohen_kappa_score(a, b, weights="quadratic")
named = cohen_kappa_score(a, b, weights="quadratic", labels=[1, 2, 3, 4, 5])
c, d, words = [1, 2, 3, 3, 1, 2, 1, 2], [1, 3, 3, 2, 2, 2, 1, 3], {1: "low", 2: "medium", 3: "high"}
numbers = cohen_kappa_score(c, d, weights="quadratic")
in_words = cohen_kappa_score([words[i] for i in c], [words[i] for i in d], weights="quadratic")
print(f"no 3 given: {given:.2f}, with 3 named: {named:.2f}; grades: {numbers:.2f}, in words: {in_words:.2f}")
assert round(given, 2) == 0.76 and round(named, 2) == 0.88 and numbers > 0.6 and in_words < 0
END
