"""What an operator should be told of: rules over the read model. No clock, no I/O."""
