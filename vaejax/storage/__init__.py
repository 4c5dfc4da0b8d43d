"""What a sweep leaves in its folder: who owns it, tables, checkpoints, and opening it again."""
