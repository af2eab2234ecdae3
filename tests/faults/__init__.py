"""Commands that are killed at every point where files change, and must end with the same bytes."""
