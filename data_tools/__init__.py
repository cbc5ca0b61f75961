"""Make human similarity data: generate pictures (`dreamsim-data generate`), so that people can judge them."""
