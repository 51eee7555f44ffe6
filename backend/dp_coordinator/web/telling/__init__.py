"""Telling somebody who does not look: one message when an alarm is raised, and one when it clears."""
