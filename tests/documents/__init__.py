"""The documents that cross a border: each is typed once, and its JSON is pinned."""
