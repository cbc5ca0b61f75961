"""Every metric that is compared, behind one interface. A file here with a dictionary `METRICS` adds what is in it.

Inside: all may change but what CONTRIBUTING.md names.
"""
