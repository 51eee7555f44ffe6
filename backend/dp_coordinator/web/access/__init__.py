"""Who may ask: names, origins, tokens, sessions, and how often."""
