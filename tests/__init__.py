"""The checks of provisioner; what several of them share stands in `tests.support`."""
