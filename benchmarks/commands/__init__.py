"""The commands of `dreamsim-bench`. Inside: all of it may change."""
