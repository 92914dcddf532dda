"""How operations leave."""
