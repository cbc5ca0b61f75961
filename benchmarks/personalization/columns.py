"""The columns of a run's tables: a name that several tables have means the same, with the same values, in all of them.

The tables are joined on

- `method`: the method's name; `real photographs` for the yardstick beside the methods;
- `subject`, `noun`: the subject's name and that of its class;
- `prompt`: the words that were asked for, with `{}` where the subject goes ("a {} in the snow"; `a {}` where the class
  alone was painted), and `slug`: the name of the prompt's folder ("a-in-the-snow"; `class`);
- `kind`: the kind of the prompt; `class` where the class alone was painted;
- `seed`: the number that the picture's noise came from;
- `path`: the picture's file, from the folder of the run (from the folder that was scored, where no run painted it);
- `protocol`, `score`, `metric`: the names of a figure's protocol, score and metric, and `better`: whether a `higher` or
  a `lower` figure is.

`value` is the figure of a row, `low` and `high` are the ends of its 95 % interval.
"""

from benchmarks.metrics.table import METRIC_COLUMNS

_PICTURE = ("method", "subject", "prompt", "slug", "kind", "seed", "path")
_SCORE = ("protocol", "score", "metric")

MANIFEST_COLUMNS = (  # `fill(prompt, words)` is what the pipeline was told
    *(*_PICTURE, "words", "model", "revision", "scheduler", "dtype", "steps", "guidance", "sha256"),
)
COST_COLUMNS = ("method", "subject", "stage", "count", "seconds", "peak_bytes")
FAILURE_COLUMNS = ("method", "subject", "stage", "error")

PICTURE_COLUMNS = (*_PICTURE, "noun", "metric", "nearest", "mean", "to_prompt")
SCORE_COLUMNS = (
    *("method", *_SCORE, "better", "value", "low", "high", "subjects", "pictures"),
    *("definition", "draws", "bootstrap_seed", "version"),
)
SUBJECT_COLUMNS = ("method", *_SCORE, "subject", "noun", "value")
PROMPT_COLUMNS = ("method", *_SCORE, "prompt", "kind", "value")
COMPARISON_COLUMNS = (
    *(*_SCORE, "better_method", "worse_method", "difference", "low", "high", "p", "p_holm", "subjects"),
)
CORRELATION_COLUMNS = ("level", "protocol", "score", "metric_a", "metric_b", "spearman", "kendall", "n")

TABLES = {  # in the folder of the scores, each `.parquet`
    "metrics": METRIC_COLUMNS,
    "scores": SCORE_COLUMNS,
    "by_subject": SUBJECT_COLUMNS,
    "by_prompt": PROMPT_COLUMNS,
    "pictures": PICTURE_COLUMNS,
    "comparisons": COMPARISON_COLUMNS,
    "correlations": CORRELATION_COLUMNS,
}
