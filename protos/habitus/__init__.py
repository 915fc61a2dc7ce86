"""Protocol packages of habitus."""
