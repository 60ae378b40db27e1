"""Short texts with a plain sentiment, for load."""

GOOD = [
    "I love it",
    "Excellent service and friendly staff",
    "Great value, works perfectly",
    "The best meal of the year",
]
BAD = [
    "This is terrible, it broke",
    "Awful, rude and slow",
    "I want my money back, it never worked",
    "Bland and overpriced",
]
TEXTS = [f"{text}{end}" for text in (*GOOD, *BAD) for end in (".", "!", ", really.", " again.")]
