"""What sees to it that a worker which cannot go on ends, and that one which keeps ending takes its time."""
