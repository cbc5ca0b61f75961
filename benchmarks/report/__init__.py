"""Tables of the benchmarks → one page that opens anywhere."""
