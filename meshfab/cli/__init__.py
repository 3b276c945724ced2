"""What the operator types and sees: tasks, the console script, and every form of output."""
