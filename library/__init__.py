"""What runs have left, for scripts and other programs: generators, searches, exports (docs/LIBRARY.md)."""
