"""Stan programs with their data: the lecture's, the user's own, and exact posteriors."""
