"""What load is worth to those who route by it."""
