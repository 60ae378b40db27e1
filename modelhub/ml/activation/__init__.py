"""Which experts answer: counts from training and serving, and what follows from them."""
