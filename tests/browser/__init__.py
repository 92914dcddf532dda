"""The control page in a real browser, over a real worker and the sandbox."""
