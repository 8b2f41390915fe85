"""Ways in beside HTTP, for programs that speak another protocol: Home Assistant's, and that of agents."""
