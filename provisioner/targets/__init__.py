"""The vendors: what each offers, how it is spelt, and the one way by which requests leave."""
