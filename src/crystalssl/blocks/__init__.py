"""The blocks: one module here without a leading underscore is one block."""
