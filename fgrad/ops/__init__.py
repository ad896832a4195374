"""The array language: each family of operations in one file, every primitive with all its rules side by side."""
