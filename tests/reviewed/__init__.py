"""Plans that people review before they are applied."""
