"""How good a model is: a judge trained on real pictures, and what it says of made ones."""
