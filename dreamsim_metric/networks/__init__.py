"""Vision networks: made, cut to the feature that is read, and run quickly. Inside: all of it may change."""
