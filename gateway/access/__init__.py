"""Who calls, what they may do, and how much of it: both fronts, and what components ask for, ask here."""
