"""What a company's mix of sides is worth: six lines of business over a week of real arrivals. Pure, numpy only."""
