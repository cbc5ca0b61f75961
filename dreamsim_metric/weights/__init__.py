"""Where weights come from and how they are kept: downloads, folders, DreamSim's releases, libraries, the hub."""
