"""One file per structure format: bytes and a name to structures in an :class:`Assembler`."""
