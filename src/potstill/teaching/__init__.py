"""The source of a student's targets: live teachers, or the labels that `potstill label` stored."""
