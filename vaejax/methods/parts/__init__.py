"""What several methods share: the two terms of the bound, encoder and decoder, codebooks, stages, schedules."""
