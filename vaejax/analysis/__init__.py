"""What the tables of a sweep or a study say: statistics over seeds, tidy tables, and findings in sentences."""
