"""The commands of `dreamsim-data`."""
