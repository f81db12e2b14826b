"""For those who report or mend a fault."""
