"""The commands of `vitattn`, a module each: what it takes on the command line, and what it calls."""
