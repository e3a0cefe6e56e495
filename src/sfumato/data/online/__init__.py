"""What speaks to a network or opens what came from one: downloads, archives, image search."""
