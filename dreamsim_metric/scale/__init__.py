"""Very many pictures: files to embeddings, folders to shards, pairs to distances, on one machine or a Ray cluster.

What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.scale.cache import Cache as Cache
    from dreamsim_metric.scale.cache import name_cache_file as name_cache_file
    from dreamsim_metric.scale.embedding import Embeddings as Embeddings
    from dreamsim_metric.scale.embedding import Options as Options
    from dreamsim_metric.scale.neighbours import find_nearest as find_nearest
    from dreamsim_metric.scale.neighbours import find_within as find_within
    from dreamsim_metric.scale.scoring import Embedded as Embedded
    from dreamsim_metric.scale.scoring import embed_files as embed_files
    from dreamsim_metric.scale.scoring import embed_folder as embed_folder
    from dreamsim_metric.scale.scoring import find_duplicates as find_duplicates
    from dreamsim_metric.scale.scoring import rank as rank
    from dreamsim_metric.scale.scoring import score_pairs as score_pairs
    from dreamsim_metric.scale.scoring import score_table as score_table
    from dreamsim_metric.scale.shards import read_shards as read_shards

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "embedding": ("Embeddings", "Options"),
        "cache": ("Cache", "name_cache_file"),
        "scoring": ("Embedded", "find_duplicates", "embed_files", "embed_folder", "rank", "score_pairs", "score_table"),
        "shards": ("read_shards",),
        "neighbours": ("find_nearest", "find_within"),
    },
)
