"""LLaVA-Med v1.5: its checkpoint as a LLaVA of transformers; there is no architecture of our own."""
