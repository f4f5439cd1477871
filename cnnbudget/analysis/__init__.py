"""Questions about networks: one walk, and a visitor for each question."""
