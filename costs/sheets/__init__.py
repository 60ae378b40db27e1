"""Price sheets: dated versions, their currencies, imports from public books, and what history would have cost by another."""
