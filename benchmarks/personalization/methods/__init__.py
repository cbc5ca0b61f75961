"""The methods, one a file. Inside: all may change but what CONTRIBUTING.md names."""
