"""Files: found, read from disks and stores, and written whole or not at all. Inside: for the package's own rooms."""
