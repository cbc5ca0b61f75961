"""Vision networks: made, cut to the feature that is read, and run quickly. Inside: for the package's own rooms."""
