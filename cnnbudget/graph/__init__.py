"""Networks and blocks: structure and names, no costs."""
