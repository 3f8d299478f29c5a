"""Where a student's targets come from: live teachers, or what `potstill label` stored."""
