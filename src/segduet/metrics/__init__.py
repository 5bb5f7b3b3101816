"""Arrays in, numbers out: one function per number, its unit in the name, its edge cases stated."""
