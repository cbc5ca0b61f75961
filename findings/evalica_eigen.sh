#!/bin/sh
# evalica 0.4.2: eigen() gives the highest score to the item that loses most.
# Seen: 2,000 comparisons of five items by Bradley and Terry's model: bradley_terry, newman, elo, pagerank and
# counting rank the best item first, eigen ranks all five in the reverse order.
# Expected: the same order; the scores of all functions are given as ratings.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet evalica==0.4.2 numpy==2.4.6 pandas==3.1.1
v/bin/python - <<'END'
import random

import evalica
import numpy as np

draw, strength, games = random.Random(0), [2, 1, 0, -1, -2], []
for _ in range(2000):
    a, b = draw.sample(range(5), 2)
    won = draw.random() < 1 / (1 + np.exp(strength[b] - strength[a]))
    games.append((a, b, evalica.Winner.X if won else evalica.Winner.Y))
orders = {}
for name in ("bradley_terry", "newman", "elo", "pagerank", "counting", "eigen"):
    scores = getattr(evalica, name)(*zip(*games)).scores
    orders[name] = [int(item) for item in scores.sort_values(ascending=False).index]
    print(name, orders[name])
others = [order for name, order in orders.items() if name != "eigen"]
assert all(order == [0, 1, 2, 3, 4] for order in others)
assert orders["eigen"] == [4, 3, 2, 1, 0]
END
