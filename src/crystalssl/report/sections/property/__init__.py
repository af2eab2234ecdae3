"""What the page says of a property model of the run: the answer to its user's question."""
