"""The stand-ins of the four vendors are as strict as the vendors' texts, proven over real HTTP."""
