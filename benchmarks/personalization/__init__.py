"""Personalized text-to-image methods: taught subjects, sampled, judged. Inside: all of it may change."""
