"""Pictures of any kind to pixels: read, decoded, resized and brought to a device."""
