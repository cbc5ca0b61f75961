"""The commands of `dreamsim-metric`. Inside: all of it may change, for programs there is the command line."""
