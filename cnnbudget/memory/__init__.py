"""Memory: scenarios, schedules, who is alive when, and the profile."""
