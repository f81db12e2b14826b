"""Files that pass between the steps: one type, one module each."""
