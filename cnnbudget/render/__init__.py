"""How results look: everything that is laid out for people and is more than one table."""
