"""Personalized text-to-image methods: taught subjects, sampled, judged."""
