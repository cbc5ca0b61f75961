"""The commands of `dreamsim-bench`."""
