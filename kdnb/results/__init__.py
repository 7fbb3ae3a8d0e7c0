"""From many runs to published tables: what is collected, made of it, and what it says (07)."""
