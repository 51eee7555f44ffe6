"""What engines' own metrics say, asked for on the web side: vLLM's, SGLang's, or a tap on somebody's coordinator.

What comes out is a `SourcesView` (`dp_coordinator.sourced`); whoever shows it, or makes something of it, needs nothing
of this package.
"""
