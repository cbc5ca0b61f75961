"""The commands of `dreamsim-metric`. Inside: for the command line."""
