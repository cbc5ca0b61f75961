"""Tables of the benchmarks → one page that opens anywhere. Inside: all of it may change."""
