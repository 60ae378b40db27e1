"""What a request asks for: its body checked, its `model` understood."""
