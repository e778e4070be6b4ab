"""Records: who scored which patch, when, and having seen what."""
