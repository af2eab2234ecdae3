"""Reading structures, the structure table, the canonical cell and validity checks (no torch)."""
