"""What a model learns from: arrays of touches, products that go together, and how good that is."""
