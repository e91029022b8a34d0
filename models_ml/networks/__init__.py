"""From inputs to logits."""
