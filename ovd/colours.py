"""The colours of base and novel in every picture."""
# Told apart by colour-blind people too (Okabe and Ito).
BASE_COLOUR = '#0072B2'
NOVEL_COLOUR = '#E69F00'
