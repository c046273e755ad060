"""What the gateway keeps in a SQLite file, and how it keeps it."""
