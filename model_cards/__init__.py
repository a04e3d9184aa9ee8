"""The template of generated model cards."""
