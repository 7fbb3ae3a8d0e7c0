"""From many runs to the published tables: what is collected, what is made of it, what it says (07)."""
