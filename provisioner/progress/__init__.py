"""How far a run is, and who is notified when a part of it changes."""
