"""Pure algorithms on plain ints: they know no layer. Each has a referee that shares no code with it."""
