"""Very many pictures: files to embeddings, folders to shards, pairs to distances, on one machine or a Ray cluster."""
