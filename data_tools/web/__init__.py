"""The experiment's page: sources, and `dist` once `make web` has built it."""
