"""How well a metric agrees with people: figures, the triplets where it does not, reliability."""
