"""Reading and replaying unfinished events, for people."""
