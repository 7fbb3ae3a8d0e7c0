"""From many runs to the published tables: what is collected, what is made of it, and what it says (notebook 07)."""
