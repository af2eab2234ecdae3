"""Numbers from crystals: raw FTCP (400, 63), the panel (103, 64) and the periodic graph."""
