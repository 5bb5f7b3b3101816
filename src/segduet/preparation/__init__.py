"""From a volume and a plan to what the network sees, and back; numpy and scipy only."""
