"""Which items are worth a person: scores of the pool, and the drawing of a round."""
