"""The demonstration language model: a tiny DeepSeek-V3 trained here, from scratch, on openly licensed text."""
