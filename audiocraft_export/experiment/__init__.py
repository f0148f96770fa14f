"""An experiment (XP): its folder by Dora signature, and its configuration."""
